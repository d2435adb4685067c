"""Which removals does a feed's hold stop, which bursts did nobody count, and which copies were lost? Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from shared.domain import lifecycle
from shared.domain.image import Photo
from shared.domain.listing import UNTIL_DECIDED, Discard, Hidden, Listing, RemovalReason, copy_keys
from shared.stores.removal_holds import Decision, RemovalHold

GUARDED_REASONS = (RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT)
"""Each has holds of its own: a feed that loses its listings holds up no owner's opt-out."""
BURST_WINDOW = timedelta(hours=1)
DISCARDED_BURST_KEPT_FOR = timedelta(hours=72)
"""Copies of a burst that was the feed's fault stay so long, hidden, for the feed to show them again: a weekend."""


def doubtful(listing: Listing, removed: Collection[Discard]) -> tuple[Photo, ...]:
    """Return the photos whose copy uses objects of these discards, which were deleted: it may be lost.

    That happens to a janitor that stalled. Another finished the discard, a downloader stored the same bytes again, and
    then the first janitor deleted them.
    """
    return tuple(
        photo for photo in listing.photos if photo.copy and any(discard.touches(photo.copy) for discard in removed)
    )


def without_lost_copies(
    listing: Listing, doubtful: Collection[Photo], stored: Collection[str], now: datetime
) -> Listing:  # fmt: skip
    """Return the listing with those doubtful photos due, without their copy, of which an object is not stored.

    `stored` are the keys that were found in both buckets.
    """
    return listing.with_photos(
        lifecycle.lose_copy(photo, now)
        for photo in doubtful
        if photo.copy and not set(stored).issuperset(copy_keys(photo.copy))
    )


def uncounted_hours(due: Iterable[Listing], now: datetime) -> Collection[tuple[str, RemovalReason, datetime]]:
    """Return the hours in which these listings were hidden, if they are over: a burst in them may be uncounted.

    `due` are listings whose removal is due. An hour is given by the feed, the reason, and its beginning.
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
    """Return after which time and up to which time hidden listings count for a burst, in the hour from `begin` on.

    Those hidden before an operator decided on the last hold count no more.
    """
    decided_at = last.decided_at if last else None
    return max(begin, decided_at) if decided_at else begin, begin + BURST_WINDOW


def hold_end(hidden: Hidden, hold: RemovalHold | None) -> datetime | None:
    """Return until when the hold keeps the copies of a hidden listing; None if it does not.

    An undecided hold keeps all copies of its reason. If an operator discarded the burst as the feed's fault, the copies
    of its listings stay for 72 hours more.
    """
    if hold is None or hidden.reason is not hold.reason:
        return None
    if hold.decision is None:
        return UNTIL_DECIDED
    if hold.decision is Decision.DISCARD and hold.decided_at and hold.since <= hidden.since <= hold.decided_at:
        return hold.decided_at + DISCARDED_BURST_KEPT_FOR
    return None


def held(listing: Listing, holds: Mapping[tuple[str, RemovalReason], RemovalHold], now: datetime) -> Listing | None:
    """Return the listing held, or released from its hold, as its feed's hold says now; None if nothing changes.

    `holds` are the newest holds by feed and reason.
    """
    if listing.hidden is None:
        return None
    until = hold_end(listing.hidden, holds.get((listing.feed, listing.hidden.reason)))
    if until is not None and until <= now:
        until = None
    if until == listing.hidden.held_until:
        return None
    return lifecycle.hold(listing, until)
