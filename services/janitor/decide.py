"""Decides which removals a hold covers, in which hours to look for bursts, and which copies were lost. Pure."""

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
    """Return the photos whose copy names objects of the discards `removed`, which were deleted: the copy may be lost.

    This happens if a janitor stalls: another janitor finishes the discard, a downloader stores the same bytes again,
    and then the first janitor deletes them.
    """
    return tuple(
        photo for photo in listing.photos if photo.copy and any(discard.touches(photo.copy) for discard in removed)
    )


def without_lost_copies(
    listing: Listing, doubtful: Collection[Photo], stored: Collection[str], now: datetime
) -> Listing:  # fmt: skip
    """Return the listing with each doubtful photo that misses an object of its copy made due, without the copy.

    `stored` are the keys that were found in both buckets.
    """
    return listing.with_photos(
        lifecycle.lose_copy(photo, now)
        for photo in doubtful
        if photo.copy and not set(stored).issuperset(copy_keys(photo.copy))
    )


def uncounted_hours(due: Iterable[Listing], now: datetime) -> Collection[tuple[str, RemovalReason, datetime]]:
    """Return the past hours that began when a listing of `due` was hidden: they may have a burst that was not counted.

    `due` are listings whose removal is due. An hour is the feed, the reason why the listing is hidden, and the time at
    which the hour began.
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
    """Return the interval in which hidden listings count for a burst: after the first time, up to the second.

    It is the hour from `begin` on, without the time before an operator decided on the last hold.
    """
    decided_at = last.decided_at if last else None
    return max(begin, decided_at) if decided_at else begin, begin + BURST_WINDOW


def hold_end(hidden: Hidden, hold: RemovalHold | None) -> datetime | None:
    """Return the time until which the hold keeps the copies of a hidden listing; None if it does not keep them.

    A hold without a decision keeps the copies of all listings hidden for its reason. If an operator discarded the burst
    as the feed's fault, the copies of its listings are kept for 72 hours after the decision.
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
    """Return the listing with the time until which it is held set, or cleared, by its feed's hold; None if no change.

    `holds` are the last holds by feed and reason.
    """
    if listing.hidden is None:
        return None
    until = hold_end(listing.hidden, holds.get((listing.feed, listing.hidden.reason)))
    if until is not None and until <= now:
        until = None
    if until == listing.hidden.held_until:
        return None
    return lifecycle.hold(listing, until)
