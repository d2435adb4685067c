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
    """Return the photos of a listing whose copy names objects of the discards `removed`: these copies may be lost.

    The objects of `removed` have just been deleted by this janitor. A copy can name one of them all the same, if this
    janitor stalled before the deletion: meanwhile another janitor finished the removal, and a downloader stored the
    same bytes again under the same key. Empty if no copy names a deleted object.
    """
    return tuple(
        photo for photo in listing.photos if photo.copy and any(discard.touches(photo.copy) for discard in removed)
    )


def without_lost_copies(
    listing: Listing, doubtful: Collection[Photo], stored: Collection[str], now: datetime
) -> Listing:  # fmt: skip
    """Return the listing without the copies of those photos in `doubtful` that miss an object; these photos become due.

    `doubtful` are photos of this listing, `stored` the keys that were found under their prefixes in both buckets. A
    photo is due from `now` on. If no object is missing, the listing is returned as it was. Nothing is written.
    """
    return listing.with_photos(
        lifecycle.lose_copy(photo, now)
        for photo in doubtful
        if photo.copy and not set(stored).issuperset(copy_keys(photo.copy))
    )


def uncounted_hours(due: Iterable[Listing], now: datetime) -> Collection[tuple[str, RemovalReason, datetime]]:
    """Return the past hours in which a burst may have happened that was not counted, because no janitor ran.

    `due` are listings whose removal is due. Each listing of `due` that was hidden an hour ago or earlier, for a reason
    of GUARDED_REASONS, gives one hour, which begins when it was hidden. An hour is a tuple of the feed's name, that
    reason and the begin. The result is sorted, without repetitions; the caller counts the hidden listings of each hour.
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
    """Return the interval in which listings that turn hidden count for a burst: after the first time, up to the second.

    It is the hour from `begin` on. `last` is the last hold of the same feed and reason, or None. If an operator decided
    about it later than `begin`, the interval starts with the decision, so that the same listings are not held again; it
    is empty if the hour had passed by then.
    """
    decided_at = last.decided_at if last else None
    return max(begin, decided_at) if decided_at else begin, begin + BURST_WINDOW


def hold_end(hidden: Hidden, hold: RemovalHold | None) -> datetime | None:
    """Return the time until which a hold keeps the copies of a hidden listing; None if it does not keep them.

    `hold` is the last hold of the listing's feed. A hold without a decision keeps the copies of all listings hidden for
    its reason, with UNTIL_DECIDED as the time. If an operator discarded the burst as the feed's fault, the copies of
    its listings are kept for 72 hours after the decision.
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
    """Return the listing with `held_until` set or cleared as its feed's hold says at `now`; None if nothing changes.

    `holds` maps a feed's name and a reason to the last hold for them, decided or not. `held_until` is cleared (None) if
    no hold keeps the listing's copies any longer. A listing that is not hidden gives None. Nothing is written.
    """
    if listing.hidden is None:
        return None
    until = hold_end(listing.hidden, holds.get((listing.feed, listing.hidden.reason)))
    if until is not None and until <= now:
        until = None
    if until == listing.hidden.held_until:
        return None
    return lifecycle.hold(listing, until)
