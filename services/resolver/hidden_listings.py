"""Withholds the answers about listings that `listing-seen` hides, until MongoDB hides these listings too.

Scheduler and janitor record in MongoDB what an event hides, but not while MongoDB is unavailable, or while they have a
backlog.
"""

import asyncio
import itertools
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from shared.clock import Clock
from shared.domain import announcement
from shared.domain.announcement import Announcement, InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.domain.freshness import Version, is_stale
from shared.domain.listing import RecordedState
from shared.events.codec import Undecodable, decode
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.events.topics import LISTING_SEEN
from shared.kafka import follow
from shared.settings import Settings
from shared.stores.documents import ListingId
from shared.stores.errors import StoreUnavailable
from shared.stores.listings import ListingRecords

CHECK_SECONDS = 1.0
"""How long one comparison with MongoDB may take, and the time between two. The contract hides a listing within 2 s."""
CONFIRMED_SECONDS = 10.0
"""How long a listing is still withheld once MongoDB hides it: readings that began earlier may bring its answers."""

_BATCH_SIZE = 1_000


@dataclass(slots=True)
class _Hiding:
    """An announcement that hides a listing. Times are in seconds of the event loop's clock."""

    version: Version
    is_withheld: bool = False
    """True once the listing's answers are withheld."""
    compared_at: float = -math.inf
    """When the announcement was last compared with MongoDB."""
    recorded_at: float | None = None
    """When MongoDB was first seen to hide the listing; None if it was not."""


class HiddenListings:
    """Reads `listing-seen`, and remembers each listing that an event hides until MongoDB hides the listing too.

    `on_hidden` is called with a ListingKey when the listing's answers must be dropped from memory. `feeds` are by name.
    """

    def __init__(self, settings: Settings, listings: ListingRecords, feeds: Mapping[str, Feed], clock: Clock) -> None:
        self._bootstrap, self._topic = settings.kafka, settings.topic(LISTING_SEEN)
        self._listings = listings
        self._feeds = feeds
        self._clock = clock
        self._hidings: dict[ListingId, _Hiding] = {}
        self._has_new = asyncio.Event()
        self.on_hidden: Callable[[str], None] = lambda _: None

    def withholds(self, listing_id: ListingId) -> bool:
        """Return True if the listing must be answered as if it were not displayed, because an event hides it."""
        hiding = self._hidings.get(listing_id)
        return hiding is not None and hiding.is_withheld

    async def follow(self) -> None:
        """Read events from now on and note the listings that they hide, until Kafka becomes unavailable.

        When Kafka becomes unavailable, BrokerUnavailable is raised.
        """
        async with follow(self._bootstrap, [self._topic]) as records:
            async for record in records:
                self.note(record)
                await asyncio.sleep(0)  # many records at once do not keep answers waiting

    def note(self, record: Record) -> None:
        """Note whether the event in `record` hides its listing; the next round compares the listing with MongoDB.

        An event that displays a noted listing removes the note, unless the event is older than the noted one. An event
        that cannot be read is ignored here: scheduler and janitor copy it to the dead letters.
        """
        event = decode(record.value, ListingSeen, record.at)
        feed = None if isinstance(event, Undecodable) else self._feeds.get(event.data.feed)
        if isinstance(event, Undecodable) or feed is None:
            return
        with suppress(InvalidPropertyRecord):
            listing_id = feed.name, announcement.listing_key(event.data.record)
            if listing_id in self._hidings or announcement.hides(feed, event.data.record):
                self._apply(listing_id, announcement.read(feed, event.data.record, record.position))

    def _apply(self, listing_id: ListingId, announced: Announcement) -> None:
        hiding = self._hidings.get(listing_id)
        hides = announced.hidden_by is not None
        if hiding and is_stale(announced.version, hiding.version, self._clock(), hides=hides):
            return
        if not hides:
            del self._hidings[listing_id]
        elif hiding:
            hiding.version, hiding.recorded_at = announced.version, None
        else:
            self._hidings[listing_id] = _Hiding(announced.version)
            self._has_new.set()

    async def run_round(self) -> None:
        """Wait until an event hides a listing, for a second at most, then compare noted listings with MongoDB.

        Each listing is compared once a second. It is withheld if MongoDB displays an older version of it, or does not
        answer within a second. It is forgotten if its event is stale, if MongoDB has no record of it, or ten seconds
        after MongoDB was first seen to hide it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):
                await self._has_new.wait()
        self._has_new.clear()
        now = asyncio.get_running_loop().time()
        due = ((id_, hiding) for id_, hiding in self._hidings.items() if hiding.compared_at <= now - CHECK_SECONDS)
        noted = dict(itertools.islice(due, _BATCH_SIZE))
        if not noted:
            return
        if len(noted) == _BATCH_SIZE:
            self._has_new.set()  # the next round compares the others
        for hiding in noted.values():
            hiding.compared_at = now
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                recorded = await self._listings.recorded_states(list(noted))
        except (StoreUnavailable, TimeoutError):
            for listing_id, hiding in noted.items():
                self._withhold(listing_id, hiding)
            return
        for listing_id, hiding in noted.items():
            if self._hidings.get(listing_id) is hiding:  # it was not displayed again meanwhile
                self._compare(listing_id, hiding, recorded.get(listing_id), now)

    def _compare(self, listing_id: ListingId, hiding: _Hiding, recorded: RecordedState | None, now: float) -> None:
        """Withhold or forget a noted listing, by its state in MongoDB; `recorded` is None if it is not recorded.

        `hiding` is the announcement that hides the listing; `now` is in seconds of the event loop's clock.
        """
        if recorded is None:
            del self._hidings[listing_id]
        elif recorded.is_displayed:
            if is_stale(hiding.version, recorded.version, self._clock(), hides=True):
                del self._hidings[listing_id]
            else:
                self._withhold(listing_id, hiding)
        elif hiding.recorded_at is None:
            hiding.recorded_at = now
            self._withhold(listing_id, hiding)
        elif now >= hiding.recorded_at + CONFIRMED_SECONDS:
            del self._hidings[listing_id]

    def _withhold(self, listing_id: ListingId, hiding: _Hiding) -> None:
        if not hiding.is_withheld:
            hiding.is_withheld = True
            self.on_hidden(listing_id[1])
