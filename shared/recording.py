"""Writes down what the MLS says of a listing: whoever hears it first, scheduler or janitor. Old events change none."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter

from shared import log, tracing
from shared.clock import Clock
from shared.dead_letters import DeadLetters
from shared.domain import announcement, reconcile
from shared.domain.announcement import Announcement, ImpossibleRecord
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.events.codec import Undecodable, decode
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.stores.documents import ListingId
from shared.stores.errors import StoreUnavailable
from shared.stores.listings import Listings

_logger = log.get(__name__)
_MOST_ROUNDS = 20
_LONGEST_ID = 100


class Recorder:
    """Records batches of `listing-seen`."""

    def __init__(
        self,
        listings: Listings,
        feeds: Mapping[str, Feed],
        dead_letters: DeadLetters,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._feeds = feeds
        self._dead_letters = dead_letters
        self._clock = clock
        self._outcomes = Counter(
            "listing_images_heard", "Listings heard of, by what came of it", ["outcome"], registry=registry
        )

    async def record(self, records: Sequence[Record]) -> None:
        """Record a batch in one read and one write; what cannot be understood goes to the dead letters.

        Raises StoreUnavailable and BrokerUnavailable; the same batch again does no harm.
        """
        heard: dict[ListingId, list[Announcement]] = {}
        dead: list[tuple[Record, str]] = []
        for record in records:
            try:
                said = self._read(record)
                heard.setdefault((said.feed, said.listing_key), []).append(said)
            except ImpossibleRecord as fault:
                dead.append((record, str(fault)))
        written = await self._write(heard)
        # Last, so that a batch that is tried again because a store was away leaves no second dead letter.
        for record, reason in dead:
            await self._dead_letters.put(record, reason)
            _logger.warning("dead-letter", topic=record.topic, offset=record.offset, reason=reason)
        self._outcomes.labels("written").inc(written)
        self._outcomes.labels("unchanged").inc(len(heard) - written)
        self._outcomes.labels("dead").inc(len(dead))

    def _read(self, record: Record) -> Announcement:
        event = decode(record.value, ListingSeen, record.at)
        if isinstance(event, Undecodable):
            raise ImpossibleRecord(event.reason)
        feed = self._feeds.get(event.data.feed)
        if feed is None:
            raise ImpossibleRecord(f"the feed {event.data.feed[:100]!r} is not in feeds.toml")
        return announcement.read(feed, event.data.record, record.position, event.id[:_LONGEST_ID])

    async def _write(self, heard: Mapping[ListingId, Sequence[Announcement]]) -> int:
        """Write what changed; where another was faster, read and decide again."""
        left, written = dict(heard), 0
        for _ in range(_MOST_ROUNDS):
            if not left:
                return written
            known = await self._listings.get_many(list(left))
            changed = [
                listing for one, said in left.items() if (listing := self._after(known.get(one), said)) is not None
            ]
            refused = await self._listings.write(changed)
            written += len(changed) - len(refused)
            for one in changed:
                if (one.feed, one.key) not in refused:
                    _report(one, left[one.feed, one.key][-1])
            left = {one: left[one] for one in refused}
        raise StoreUnavailable(f"{len(left)} listings changed under every attempt to write them")

    def _after(self, listing: Listing | None, said: Iterable[Announcement]) -> Listing | None:
        """Return the listing after all statements, or None where none changes it."""
        now, before = self._clock(), listing
        for one in said:
            listing = reconcile.record(listing, one, self._feeds[one.feed], now) or listing
        return None if listing is before else listing


def _report(listing: Listing, said: Announcement) -> None:
    _logger.info(
        "listing-recorded",
        feed=listing.feed,
        listing_key=listing.key,
        correlation_id=said.event_id,
        displayed=listing.is_displayed,
        photos=len(listing.photos),
    )
    tracing.tell("record", said.event_id, 0.0, feed=listing.feed, listing_key=listing.key)
