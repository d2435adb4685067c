"""What does a sweep conclude of a listing: is it unrecorded, is it gone, which copies must be rechecked? Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.scheduler import schedule
from shared.domain import lifecycle
from shared.domain.announcement import Announcement
from shared.domain.feed import Feed
from shared.domain.freshness import is_newer
from shared.domain.listing import Listing, RecordedState, RemovalReason


def is_unrecorded(announcement: Announcement, recorded: RecordedState | None) -> bool:
    """Return True if the announcement says something that is not recorded, so that a sweep must publish it.

    That is a newer version, or that the listing is displayed or is not. A listing that was never recorded (None) counts
    only if it may be shown. A recorded opt-out counts only with a newer version: the rows that a sweep reads to compare
    do not say whether it still holds.
    """
    if recorded is None:
        return announcement.hidden_by is None
    ours, theirs = recorded.version, announcement.version
    if is_newer(theirs.modified_at, ours.modified_at) or is_newer(theirs.media_changed_at, ours.media_changed_at):
        return True
    is_displayed = announcement.hidden_by is None
    return is_displayed is not recorded.is_displayed and recorded.hidden_by is not RemovalReason.OPT_OUT


def gone_record(listing_key: str) -> dict[str, Any]:
    """Return the property record of a listing that its MLS no longer has: it may not be viewed.

    It has no timestamps: it is never stale, and whatever the MLS announces of the listing later is newer.
    """
    return {"ListingKey": listing_key, "MlgCanView": False}


@dataclass(frozen=True, slots=True)
class Rechecked:
    """A listing with rechecks scheduled, and the number of photos that are to be rechecked."""

    listing: Listing
    photos: int


def schedule_rechecks(
    listing: Listing, feed: Feed, checked_before: datetime, start: datetime, now: datetime
) -> Rechecked:  # fmt: skip
    """Schedule a recheck of each of the listing's copies that was last checked at the given time or before.

    They are due at the listing's own time within the feed's sweep hours from `start` on, but not before now.
    """
    due_at = max(now, schedule.slot(feed, listing.key, start))
    due = [
        lifecycle.recheck(photo, due_at, now)
        for photo in listing.recheckable
        if photo.copy and photo.copy.checked_at <= checked_before
    ]
    return Rechecked(listing.with_photos(due), len(due))
