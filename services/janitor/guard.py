"""Holds removals where a feed seems to have lost its listings: display stops all the same, nothing is deleted.

The count is of what turned hidden, not of what is due: it is made before the first of a burst may go.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Gauge

from services.janitor import decide
from shared import log
from shared.clock import Clock
from shared.domain.burst import MIN_HIDDEN, is_burst
from shared.domain.feed import Feed
from shared.domain.listing import Listing, RemovalReason
from shared.stores.removal_holds import RemovalHold, RemovalHolds
from shared.stores.removal_queue import RemovalQueue

_LOOK_EVERY = timedelta(seconds=1)
"""Less than the grace that a hidden listing has: a burst is seen before any of it is due."""
_AT_ONCE = 50
_BEFORE = timedelta(milliseconds=1)
"""What turned hidden after a moment is counted; the first of a burst counts, too."""

Frozen = Mapping[tuple[str, RemovalReason], RemovalHold]

_logger = log.get(__name__)


class Guard:
    """Counts for each feed what turned hidden within the hour; freezes, and lets go as an operator decides."""

    def __init__(
        self,
        listings: RemovalQueue,
        removal_holds: RemovalHolds,
        feeds: Mapping[str, Feed],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._freezes = removal_holds
        self._feeds = feeds
        self._clock = clock
        self._frozen: Frozen = {}
        self._looked_at: datetime | None = None
        self._gauge = Gauge(
            "listing_images_removals_held",
            "1 while a feed's removals for a reason wait for an operator",
            ["feed", "reason"],
            registry=registry,
        )

    async def let_through(self, due: Sequence[Listing]) -> Sequence[Listing]:
        """Return those of the listings that may be removed now; the others are written down as held."""
        await self.look()
        await self._look_back(due)
        now = self._clock()
        held = {(one.feed, one.key): after for one in due if (after := decide.held(one, self._frozen, now))}
        await self._listings.write(held.values())
        return [one for one in due if (one.feed, one.key) not in held]

    async def look(self) -> None:
        """Freeze what has to be, and let go of what was decided about; once a second, however often it is called."""
        now = self._clock()
        if self._looked_at is not None and now < self._looked_at + _LOOK_EVERY:
            return
        frozen = {(one.feed, one.reason): one for one in await self._freezes.all()}
        for feed in self._feeds.values():
            for reason in decide.GUARDED_REASONS:
                last = frozen.get((feed.name, reason))
                await self._freeze_if_burst(feed, reason, last, now - decide.BURST_WINDOW)
        await self._read()
        for freeze in self._frozen.values():
            if freeze.decision is not None:
                await self._let_go(freeze, now)
        self._looked_at = now

    def forget(self) -> None:
        """Show nothing: another janitor looks, and no old figure may stand beside its own."""
        self._gauge.clear()

    async def _look_back(self, due: Sequence[Listing]) -> None:
        """Freeze for a burst that no janitor watched, before the first of it goes."""
        for name, reason, since in decide.uncounted_hours(due, self._clock()):
            feed, last = self._feeds.get(name), self._frozen.get((name, reason))
            if feed and await self._freeze_if_burst(feed, reason, last, since - _BEFORE):
                await self._read()

    async def _freeze_if_burst(
        self, feed: Feed, reason: RemovalReason, last: RemovalHold | None, begin: datetime
    ) -> bool:
        if last is not None and last.decision is None:
            return False
        since, until = decide.counted_interval(begin, last)
        hidden = await self._listings.turned_hidden(feed.name, reason, since, until)
        if hidden < MIN_HIDDEN:
            return False
        displayed = await self._listings.displayed_count(feed.name)
        if not is_burst(hidden, displayed, feed):
            return False
        now = self._clock()
        freeze = RemovalHold(feed=feed.name, reason=reason, at=now, since=since, hidden=hidden, displayed=displayed)
        if await self._freezes.begin(freeze):
            _logger.error(
                "removals-held",
                feed=feed.name,
                reason=str(freeze),
                hint=f"imagectl removals resume {feed.name}, or imagectl removals discard {feed.name}",
            )
        return True

    async def _let_go(self, freeze: RemovalHold, now: datetime) -> None:
        """Give listings that were held for a decision their time, as it was decided."""
        while waiting := await self._listings.held(freeze.feed, freeze.reason, _AT_ONCE):
            freed = [after for one in waiting if (after := decide.held(one, self._frozen, now))]
            refused = await self._listings.write(freed)
            if len(refused) == len(freed):
                return  # all of them are changing under us: the next look goes on

    async def _read(self) -> None:
        self._frozen = {(one.feed, one.reason): one for one in await self._freezes.all()}
        for feed in self._feeds:
            for reason in decide.GUARDED_REASONS:
                freeze = self._frozen.get((feed, reason))
                self._gauge.labels(feed, reason.value).set(freeze is not None and freeze.decision is None)
