"""What must go now, what is left once it has gone, and when does a feed's removal look like its fault? Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from shared.domain import lifecycle
from shared.domain.image import Photo
from shared.domain.listing import UNTIL_DECIDED, Discard, Hidden, Listing, RemovalReason, copy_keys
from shared.stores.removal_holds import Decision, RemovalHold

GUARDED = (RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT)
"""Each is counted by itself, so that a feed that loses its listings holds up no owner's opt-out."""
BURST = timedelta(hours=1)
KEPT_AFTER_DISCARD = timedelta(hours=72)
"""What an operator called the feed's fault is kept so long, hidden, for the feed to show it again: a weekend."""


def doubtful(listing: Listing, gone: Collection[Discard]) -> tuple[Photo, ...]:
    """Return the photos with a copy at keys that were deleted: by a janitor that stalled and was overtaken.

    Its discard was finished by another, the same bytes were stored again, and perhaps it deleted them after that.
    """
    return tuple(
        photo for photo in listing.photos if photo.copy and any(discard.touches(photo.copy) for discard in gone)
    )


def without_lost(listing: Listing, doubted: Collection[Photo], held: Collection[str], now: datetime) -> Listing:
    """Return the listing where those of the photos have no copy, and are due, of which an object is not held."""
    return listing.with_photos(
        lifecycle.lose_copy(photo, now)
        for photo in doubted
        if photo.copy and not set(held).issuperset(copy_keys(photo.copy))
    )


def hours_missed(due: Iterable[Listing], now: datetime) -> Collection[tuple[str, RemovalReason, datetime]]:
    """Return by feed and guarded reason the beginnings of hours, over by now, in which some of these turned hidden."""
    hidden = [(one.feed, one.hidden) for one in due if one.hidden and one.hidden.reason in GUARDED]
    return sorted({(feed, one.reason, one.since) for feed, one in hidden if one.since <= now - BURST})


def hour_counted(begin: datetime, last: RemovalHold | None) -> tuple[datetime, datetime]:
    """Return after what and up to when hidden listings count: what an operator has decided about counts no more."""
    decided_at = last.decided_at if last else None
    return max(begin, decided_at) if decided_at else begin, begin + BURST


def held_until(hidden: Hidden, freeze: RemovalHold | None) -> datetime | None:
    """Return until when a freeze holds the copies of a listing; None where it does not."""
    if freeze is None or hidden.reason is not freeze.reason:
        return None
    if freeze.decision is None:
        return UNTIL_DECIDED
    if freeze.decision is Decision.DISCARD and freeze.decided_at and freeze.since <= hidden.since <= freeze.decided_at:
        return freeze.decided_at + KEPT_AFTER_DISCARD
    return None


def held(
    listing: Listing, removal_holds: Mapping[tuple[str, RemovalReason], RemovalHold], now: datetime
) -> Listing | None:
    """Return the listing held by its feed's freeze, or let go of by it; None where nothing changes."""
    if listing.hidden is None:
        return None
    until = held_until(listing.hidden, removal_holds.get((listing.feed, listing.hidden.reason)))
    if until is not None and until <= now:
        until = None
    if until == listing.hidden.held_until:
        return None
    return lifecycle.hold(listing, until)
