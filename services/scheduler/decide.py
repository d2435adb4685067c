"""Decides for a listing if a sweep must publish it, how to publish that it is gone, and when to recheck it. No I/O."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.scheduler import schedule
from shared.domain import lifecycle
from shared.domain.announcement import Announcement
from shared.domain.feed import Feed
from shared.domain.freshness import credible, is_newer
from shared.domain.listing import Listing, RecordedState, RemovalReason
from shared.reso.odata import PropertyRecord

_TIMESTAMPS = frozenset({"ModificationTimestamp", "MediaChangeTimestamp", "PhotosChangeTimestamp"})


def is_unrecorded(announcement: Announcement, recorded: RecordedState | None, now: datetime) -> bool:
    """Return True if a sweep must publish an announcement, because it differs from the listing's recorded state.

    It differs if its version is newer, or if it is displayed and the listing is hidden, or the other way round. If no
    listing is recorded (None), only an announcement that is displayed is published. If an opt-out is recorded, only a
    newer version is published: the rows that a sweep compares do not have the opt-out. Timestamps more than a day ahead
    of `now` count as missing.
    """
    if recorded is None:
        return announcement.hidden_by is None
    ours, theirs = credible(recorded.version, now), credible(announcement.version, now)
    if is_newer(theirs.modified_at, ours.modified_at) or is_newer(theirs.media_changed_at, ours.media_changed_at):
        return True
    is_displayed = announcement.hidden_by is None
    return is_displayed is not recorded.is_displayed and recorded.hidden_by is not RemovalReason.OPT_OUT


def as_current(record: PropertyRecord, announcement: Announcement, recorded: RecordedState | None) -> PropertyRecord:
    """Return the property record that an MLS has now of a listing, to be published so that it is not stale.

    `announcement` is what the record announces, and hides the listing; `recorded` is the listing's recorded state, None
    if it was never recorded. If the listing is displayed, each timestamp of the record that is earlier than the
    recorded one is replaced by that: the MLS may write times in another zone than before. A newer event that comes
    meanwhile still wins. Otherwise the record is returned as it is.
    """
    if recorded is None or not recorded.is_displayed:
        return record
    ours, theirs = recorded.version, announcement.version
    changes: dict[str, Any] = {}
    if is_newer(ours.modified_at, theirs.modified_at) and theirs.modified_at and ours.modified_at:
        changes["ModificationTimestamp"] = ours.modified_at.isoformat()
    if is_newer(ours.media_changed_at, theirs.media_changed_at) and theirs.media_changed_at and ours.media_changed_at:
        changes["MediaChangeTimestamp"] = ours.media_changed_at.isoformat()
    return {**record, **changes} if changes else record


def without_timestamps(record: PropertyRecord) -> PropertyRecord:
    """Return a copy of a property record without the listing's timestamps, to be published if its Media was not read.

    The recorded version stays as it is then, so that the next sweep asks for the listing again, and records its photos.
    """
    return {name: value for name, value in record.items() if name not in _TIMESTAMPS}


def gone_record(listing_key: str) -> dict[str, Any]:
    """Return a property record to publish for a listing that its MLS no longer has.

    It says that the listing may not be viewed. It has no timestamps, so that it is never stale and every later
    announcement of the listing is newer.
    """
    return {"ListingKey": listing_key, "MlgCanView": False}


@dataclass(frozen=True, slots=True)
class Rechecked:
    """Holds a listing with rechecks scheduled, still to be written.

    `photos` is how many of its photos are to be rechecked.
    """

    listing: Listing
    photos: int


def schedule_rechecks(
    listing: Listing, feed: Feed, checked_before: datetime, start: datetime, now: datetime
) -> Rechecked:  # fmt: skip
    """Return the listing with a recheck scheduled for each photo whose copy needs one, and how many photos these are.

    A copy needs a recheck if it was last checked at `checked_before` or earlier. The photos are due at the listing's
    own time (`schedule.slot`) in the feed's sweep that starts at `start`, but not before `now`. Nothing is written.
    """
    due_at = max(now, schedule.slot(feed, listing.key, start))
    due = [
        lifecycle.recheck(photo, due_at, now)
        for photo in listing.recheckable
        if photo.copy and photo.copy.checked_at <= checked_before
    ]
    return Rechecked(listing.with_photos(due), len(due))
