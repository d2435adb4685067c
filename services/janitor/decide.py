"""Decides which removals a hold covers, in which hours to look for bursts, and which copies were lost. No I/O."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from shared.domain import lifecycle
from shared.domain.image import Photo
from shared.domain.listing import UNTIL_DECIDED, Discard, Hidden, Listing, RemovalReason, copy_keys
from shared.stores.removal_holds import Decision, RemovalHold

GUARDED_REASONS = (RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT)
"""The reasons for which bursts are held. Each has its own holds, so that a feed's lost listings delay no opt-out."""
BURST_WINDOW = timedelta(hours=1)
DISCARDED_BURST_KEPT_FOR = timedelta(hours=72)
"""How long the copies of a discarded burst are kept, hidden, until the feed shows the listings again: a weekend."""


def photos_using(listing: Listing, removed: Collection[Discard]) -> tuple[Photo, ...]:
    """Return the photos of a listing whose copy names an object that this janitor has just deleted.

    `removed` are the discards whose objects were deleted. A copy that names such an object may have lost it. The cause
    is that this janitor stalled before the deletion: another janitor finished the same removal first, and a downloader
    stored the same bytes again under the same keys. The result is empty if no copy names a deleted object.
    """
    return tuple(
        photo for photo in listing.photos if photo.copy and any(discard.touches(photo.copy) for discard in removed)
    )


def without_lost_copies(
    listing: Listing, doubtful: Collection[Photo], stored: Collection[str], now: datetime
) -> Listing:  # fmt: skip
    """Return the listing without the copy of each `doubtful` photo if storage lacks an object of that copy.

    `doubtful` are photos of the listing. `stored` are the keys of the objects that storage has for these photos, in
    both buckets. A photo whose copy is taken away is due from `now` on. If no object is missing, the listing is
    returned unchanged. Nothing is written.
    """
    return listing.with_photos(
        lifecycle.lose_copy(photo, now)
        for photo in doubtful
        if photo.copy and not set(stored).issuperset(copy_keys(photo.copy))
    )


def uncounted_hours(due: Iterable[Listing], now: datetime) -> Collection[tuple[str, RemovalReason, datetime]]:
    """Return the past hours in which a burst may have happened that no janitor counted, because none ran.

    `due` are listings whose removal is due. Each of these listings that was hidden an hour ago or earlier, for a reason
    in GUARDED_REASONS, gives one hour, which starts when the listing was hidden. An hour is a tuple of the feed's name,
    the reason of the removal, and the start. The result is sorted, without repetitions. The caller counts the hidden
    listings of each hour.
    """
    return sorted(
        {
            (listing.feed, listing.hidden.reason, listing.hidden.since)
            for listing in due
            if listing.hidden
            and listing.hidden.reason in GUARDED_REASONS
            and listing.hidden.since <= now - BURST_WINDOW
        }
    )


def counted_interval(begin: datetime, last: RemovalHold | None) -> tuple[datetime, datetime]:
    """Return the start and the end of the interval in which newly hidden listings count for a burst.

    The interval is the hour after `begin`. A listing hidden exactly at the start does not count. `last` is the last
    hold of the same feed and reason, None if there was none. If an operator decided about `last` later than `begin`,
    the interval starts with the decision, so that the same listings are not held again. If the decision came after that
    hour, the start is later than the end, and no listing counts.
    """
    decided_at = last.decided_at if last else None
    return max(begin, decided_at) if decided_at else begin, begin + BURST_WINDOW


def hold_end(hidden: Hidden, hold: RemovalHold | None) -> datetime | None:
    """Return the time until which a hold keeps the copies of a hidden listing; None if it does not keep them.

    `hidden` says why and since when the listing is hidden. `hold` is the last hold of the listing's feed for that
    reason, None if there was none. A hold without a decision keeps the copies of all listings hidden for its reason:
    the result is UNTIL_DECIDED. If an operator discarded the burst as the feed's fault, the copies of the burst's
    listings are kept for 72 hours after the decision. If an operator resumed the removals, no copies are kept.
    """
    if hold is None or hidden.reason is not hold.reason:
        return None
    if hold.decision is None:
        return UNTIL_DECIDED
    if hold.decision is Decision.DISCARD and hold.decided_at and hold.since <= hidden.since <= hold.decided_at:
        return hold.decided_at + DISCARDED_BURST_KEPT_FOR
    return None


def apply_hold(
    listing: Listing, holds: Mapping[tuple[str, RemovalReason], RemovalHold], now: datetime
) -> Listing | None:
    """Return the listing with `held_until` set as its feed's hold says, or cleared (None) if no hold keeps its copies.

    Return None if `held_until` is already right, or if the listing is not hidden. `holds` maps a feed's name and a
    reason of removals to the last hold for them, with or without an operator's decision. A hold that ended at `now` or
    earlier keeps no copies. Nothing is written.
    """
    if listing.hidden is None:
        return None
    until = hold_end(listing.hidden, holds.get((listing.feed, listing.hidden.reason)))
    if until is not None and until <= now:
        until = None
    if until == listing.hidden.held_until:
        return None
    return lifecycle.hold(listing, until)
