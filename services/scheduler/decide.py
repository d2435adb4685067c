"""What does a sweep conclude? Which listings are news, which are gone, which copies to ask for. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.scheduler import schedule
from shared.domain import lifecycle
from shared.domain.announcement import Announcement
from shared.domain.feed import Feed
from shared.domain.freshness import is_newer
from shared.domain.listing import Listing, RecordedState, RemovalReason


def is_news(said: Announcement, recorded: RecordedState | None) -> bool:
    """Whether the MLS says something that is not recorded: another version, or that it is displayed, or is not.

    What may not be shown and was never recorded is no news. An opt-out stays one until its timestamps move: the rows
    that are read for comparison do not tell of it.
    """
    if recorded is None:
        return said.hidden_by is None
    ours, theirs = recorded.version, said.version
    if is_newer(theirs.modified_at, ours.modified_at) or is_newer(theirs.media_changed_at, ours.media_changed_at):
        return True
    return (said.hidden_by is None) is not recorded.is_displayed and recorded.hidden_by is not RemovalReason.OPT_OUT


def gone(listing_key: str) -> dict[str, Any]:
    """Return the record of a listing that its MLS no longer has: what may not be viewed is deleted.

    It has no timestamp, so it is never old, and whatever the MLS says of the listing later is newer.
    """
    return {"ListingKey": listing_key, "MlgCanView": False}


@dataclass(frozen=True, slots=True)
class Rechecked:
    """A listing with copies that are due to be asked for again, and how many."""

    listing: Listing
    photos: int


def recheck(listing: Listing, feed: Feed, before: datetime, start: datetime, now: datetime) -> Rechecked:
    """Make due what was last asked for before that time, at the listing's own moment in the hours from `start` on."""
    due_at = max(now, schedule.slot(feed, listing.key, start))
    due = [
        lifecycle.recheck(photo, due_at, now)
        for photo in listing.recheckable
        if photo.copy and photo.copy.checked_at <= before
    ]
    return Rechecked(listing.with_photos(due), len(due))
