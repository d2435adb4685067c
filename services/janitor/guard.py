"""Holds the removals of a feed that seems to have lost its listings: its listings are hidden, but nothing is deleted.

Listings are counted when they turn hidden, not when their removal is due, so that a burst is found before the removal
of its first listing is due.
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

_UPDATE_INTERVAL = timedelta(seconds=1)
"""Shorter than the time from a listing's hiding to its removal, so that bursts are found before a removal is due."""
_BATCH_SIZE = 50
_JUST_BEFORE = timedelta(milliseconds=1)
"""The store counts listings hidden after a time. Counting begins this much earlier, to include the time itself."""

HoldsByReason = Mapping[tuple[str, RemovalReason], RemovalHold]
"""The last hold of each feed and reason, decided or not."""

_logger = log.get(__name__)


class Guard:
    """Starts a hold when a burst of a feed's listings is hidden within an hour, and applies operators' decisions.

    Each reason in `decide.GUARDED_REASONS` has its own bursts and holds.
    """

    def __init__(
        self,
        listings: RemovalQueue,
        removal_holds: RemovalHolds,
        feeds: Mapping[str, Feed],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._removal_holds = removal_holds
        self._feeds = feeds
        self._clock = clock
        self._holds: HoldsByReason = {}
        self._updated_at: datetime | None = None
        self._gauge = Gauge(
            "listing_images_removals_held",
            "1 while a feed's removals for a reason wait for an operator",
            ["feed", "reason"],
            registry=registry,
        )

    async def removable(self, due: Sequence[Listing]) -> Sequence[Listing]:
        """Return the listings of `due` that no hold covers: their photos may be removed now.

        `due` are listings whose removal is due. Holds are started for new bursts first. The listings of `due` that a
        hold covers are recorded as held in MongoDB. Raises StoreUnavailable.
        """
        await self.update_holds()
        await self._hold_unwatched_bursts(due)
        now = self._clock()
        held = {
            (listing.feed, listing.key): after
            for listing in due
            if (after := decide.apply_hold(listing, self._holds, now)) is not None
        }
        if held:
            await self._listings.write(held.values())
        return [listing for listing in due if (listing.feed, listing.key) not in held]

    async def update_holds(self) -> None:
        """Start holds for new bursts of all feeds, and apply operators' decisions to held listings in MongoDB.

        Does nothing if the last update was less than a second ago. Raises StoreUnavailable.
        """
        now = self._clock()
        if self._updated_at is not None and now < self._updated_at + _UPDATE_INTERVAL:
            return
        await self._read_holds()
        for feed in self._feeds.values():
            for reason in decide.GUARDED_REASONS:
                await self._hold_if_burst(feed, reason, now - decide.BURST_WINDOW)
        await self._read_holds()
        for hold in self._holds.values():
            if hold.decision is not None:
                await self._release_held(hold, now)
        self._updated_at = now

    def clear_gauge(self) -> None:
        """Remove all values of the gauge of holds from this process's metrics.

        Called when this janitor does not hold the lease: the janitor that holds the lease shows the values.
        """
        self._gauge.clear()

    async def _hold_unwatched_bursts(self, due: Sequence[Listing]) -> None:
        """Start a hold for each burst that happened while no janitor ran and that hid listings of `due`.

        `due` are listings whose removal is due. Holds that this method starts are in `_holds` afterwards. Raises
        StoreUnavailable.
        """
        for feed_name, reason, since in decide.uncounted_hours(due, self._clock()):
            feed = self._feeds.get(feed_name)
            if feed and await self._hold_if_burst(feed, reason, since - _JUST_BEFORE):
                await self._read_holds()

    async def _hold_if_burst(self, feed: Feed, reason: RemovalReason, begin: datetime) -> bool:
        """Start a hold in MongoDB if the feed's listings hidden for `reason` in the hour after `begin` are a burst.

        Return True if they are a burst: the caller then reads the holds again. Return False if they are no burst, or if
        the last hold of this feed and reason still waits for a decision. Listings hidden before an operator's decision
        about the last hold do not count. Raises StoreUnavailable.
        """
        last = self._holds.get((feed.name, reason))
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
        hold = RemovalHold(feed=feed.name, reason=reason, at=now, since=since, hidden=hidden, displayed=displayed)
        if await self._removal_holds.begin(hold):
            _logger.error(
                "removals-held",
                feed=feed.name,
                reason=str(hold),
                hint=f"imagectl removals resume {feed.name}, or imagectl removals discard {feed.name}",
            )
        return True

    async def _release_held(self, hold: RemovalHold, now: datetime) -> None:
        """Apply an operator's decision about a hold to all listings that the hold covers, in MongoDB.

        `hold` is a hold with a decision. If the operator resumed the removals, the removals go on. If the operator
        discarded the burst, they wait until 72 hours after the decision. If other processes keep changing the listings,
        the rest is left for the next update. Raises StoreUnavailable.
        """
        while held := await self._listings.held(hold.feed, hold.reason, _BATCH_SIZE):
            released = [
                after for listing in held if (after := decide.apply_hold(listing, self._holds, now)) is not None
            ]
            refused = await self._listings.write(released)
            if len(refused) == len(released):
                return  # other writers change all these listings; the next update continues

    async def _read_holds(self) -> None:
        """Read the last hold of each feed and reason from MongoDB into `_holds`, and set the gauge of holds.

        The gauge is 1 for a feed and reason whose hold waits for a decision, else 0. Raises StoreUnavailable.
        """
        self._holds = {(hold.feed, hold.reason): hold for hold in await self._removal_holds.all()}
        for feed in self._feeds:
            for reason in decide.GUARDED_REASONS:
                hold = self._holds.get((feed, reason))
                self._gauge.labels(feed, reason.value).set(hold is not None and hold.decision is None)
