"""Plans which listings a sweep asks the MLS for, in which order and how fast. No I/O."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from services.scheduler import schedule
from shared.domain.feed import Feed
from shared.reso.media_reader import key_groups
from shared.stores.sweeps import SweepCounts, SweepRequest

_MAX_GAP = timedelta(seconds=10)
"""The longest time between two groups, so that a small sweep does not delay changes for hours."""
_WITNESSES = 5
"""How many witnesses a sweep has: some may leave the market before the sweep ends."""


@dataclass(frozen=True, slots=True)
class SweepRun:
    """Names a sweep that is due: the daily sweep that starts at `start`, or a sweep that an operator requested.

    `request` is the operator's request, None for the daily sweep.
    """

    start: datetime
    request: SweepRequest | None = None
    catches_up: bool = False
    """True if the MLS no longer tells of all deletions since the last sweep: groups have no pauses then."""

    @property
    def is_dry(self) -> bool:
        """True if an operator requested the sweep as a dry run, which compares and counts but publishes nothing."""
        return self.request is not None and self.request.dry_run


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Holds the ListingKeys that one request to the MLS asks for.

    `are_missing` is True if the listings are displayed but not on the market, and False if they are on the market and
    differ from the records.
    """

    keys: Sequence[str]
    are_missing: bool


@dataclass(slots=True)
class SweepPlan:
    """Holds, in memory, the requests that a feed's sweep is still to send to the MLS, and its counts so far.

    The plan is made after the market was compared with the records, and changes while the sweep advances.
    """

    run: SweepRun
    next_at: datetime
    """When the MLS is asked for the next group."""
    gap: timedelta
    """The time between two groups."""
    groups: deque[KeyGroup]
    counts: SweepCounts
    """The counts so far."""
    displayed: int
    """How many listings were displayed when the sweep began."""
    changed_since: datetime
    """The earliest ModificationTimestamp of the changed listings, or when the sweep began."""
    witnesses: deque[str] = field(default_factory=deque)
    """ListingKeys on the market: if the MLS has no record of any of them, no listing is taken for gone."""
    unproved: int = 0
    """How many listings got no usable answer: neither a record, nor a proof that there is none."""
    is_discarded: bool = False
    """True if an operator discarded the burst that the sweep found, as the feed's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Holds the result of comparing the market of a feed's MLS with the recorded listings.

    `on_market` has the ListingKeys of all listings on the market. `changed` has the ListingKeys of listings on the
    market that differ from the recorded listings. `changed_since` is the earliest ModificationTimestamp of the changed
    listings, or when the sweep began. `missing` has the ListingKeys of displayed listings that are not on the market.
    `displayed` is how many listings of the feed are displayed.
    """

    on_market: set[str]
    changed: Sequence[str]
    changed_since: datetime
    missing: Sequence[str]
    displayed: int


def plan(feed: Feed, run: SweepRun, comparison: Comparison) -> SweepPlan:
    """Return the plan of a sweep: the missing and the changed listings of `comparison`, in groups to ask the MLS for.

    Missing listings come first, since they may have to be hidden. Within the missing and within the changed listings,
    the order is that of the listings' times in the sweep (`schedule.slot`). The time between two groups spreads all
    groups evenly over the feed's `sweep_hours`, but is ten seconds at most, so that a small sweep ends sooner. If an
    operator requested `run`, or if `run` catches up, there is no time between groups. Without missing and changed
    listings, the plan has no groups.
    """
    slot = partial(schedule.slot, feed, start=run.start)
    groups = [KeyGroup(keys, are_missing=True) for keys in key_groups(sorted(comparison.missing, key=slot))]
    groups += [KeyGroup(keys, are_missing=False) for keys in key_groups(sorted(comparison.changed, key=slot))]
    gap = (
        timedelta(hours=feed.sweep_hours) / len(groups)
        if groups and not (run.request or run.catches_up)
        else timedelta(0)
    )
    to_ask = len(comparison.changed) + len(comparison.missing)
    counts = SweepCounts(
        compared=len(comparison.on_market), asked_for=to_ask, missing=len(comparison.missing), remaining=to_ask
    )  # fmt: skip
    return SweepPlan(
        run=run, next_at=run.start, gap=min(gap, _MAX_GAP), groups=deque(groups), counts=counts,
        displayed=comparison.displayed, changed_since=comparison.changed_since,
        witnesses=deque(islice(comparison.on_market, _WITNESSES)),
    )  # fmt: skip
