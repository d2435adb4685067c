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

    It differs if its version is newer, if it shows a hidden listing, or if it hides a displayed one. If no listing is
    recorded (None), only an announcement that shows the listing is published. If an opt-out is recorded, only a newer
    version is published, because the rows that a sweep compares may lack the opt-out. Timestamps more than a day after
    `now` count as missing.
    """
    if recorded is None:
        return announcement.hidden_by is None
    ours, theirs = credible(recorded.version, now), credible(announcement.version, now)
    if is_newer(theirs.modified_at, ours.modified_at) or is_newer(theirs.media_changed_at, ours.media_changed_at):
        return True
    is_displayed = announcement.hidden_by is None
    return is_displayed is not recorded.is_displayed and recorded.hidden_by is not RemovalReason.OPT_OUT


def as_current(record: PropertyRecord, announcement: Announcement, recorded: RecordedState | None) -> PropertyRecord:
    """Return a property record that hides its listing, with timestamps by which it is not stale, to be published.

    `record` is what the MLS has now, and `announcement` is the record as read by the feed's rules. `recorded` is the
    listing's recorded state, None if it was never recorded. If the recorded listing is displayed, each timestamp of the
    record that is earlier than the recorded one is replaced by the recorded one: the MLS may write times in another
    zone than before. A newer event that is recorded meanwhile still wins. If no displayed listing is recorded, the
    record is returned unchanged.
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
    """Return a copy of a property record without its timestamps, to be published if its Media was not read.

    The recorded version then stays as it is, so that the next sweep asks for the listing again and records its photos.
    """
    return {name: value for name, value in record.items() if name not in _TIMESTAMPS}


def gone_record(listing_key: str) -> dict[str, Any]:
    """Return a property record to publish for a listing that its MLS no longer has.

    It says that the listing may not be viewed (MlgCanView false). It has no timestamps, so it is never stale, and every
    later announcement of the listing is newer.
    """
    return {"ListingKey": listing_key, "MlgCanView": False}


@dataclass(frozen=True, slots=True)
class Rechecked:
    """Holds a listing whose rechecks are scheduled but not written to MongoDB yet.

    `photos` is how many of its photos are to be rechecked.
    """

    listing: Listing
    photos: int


def schedule_rechecks(
    listing: Listing, feed: Feed, checked_before: datetime, start: datetime, now: datetime
) -> Rechecked:  # fmt: skip
    """Return the listing with a recheck scheduled for each photo whose copy needs one, and the number of these photos.

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
