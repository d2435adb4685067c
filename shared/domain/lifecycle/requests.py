"""Who asks for an attempt of a photo, and how urgently? Visitors, operators and sweeps; attempts.py does the rest."""

from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain import retry
from shared.domain.feed import Feed
from shared.domain.freshness import is_newer, newest, to_millisecond
from shared.domain.image import REBUILD_WANTED, Photo
from shared.domain.lifecycle.attempts import defer, release
from shared.domain.priority import Priority, most_urgent

RETRY_VIEWED_AFTER = timedelta(minutes=1)
"""A failed photo that is viewed is attempted again at once if its last attempt ended at least this long ago."""


def raise_priority(photo: Photo, priority: Priority) -> Photo:
    """Return the photo with the given priority if that is more urgent than the photo's own, else as it is."""
    return replace(photo, priority=most_urgent(photo.priority, priority))


def view(photo: Photo, feed: Feed, now: datetime) -> Photo:
    """Return a photo that wants an attempt as it is after a visitor viewed it: with the priority `VIEWED`.

    If `is_released_by_view` returns True, the photo is also put in flight: once the photo is written, the caller must
    publish `image-outdated` for it.
    """
    viewed = raise_priority(photo, Priority.VIEWED)
    return release(viewed, now) if is_released_by_view(photo, feed, now) else viewed


def is_released_by_view(photo: Photo, feed: Feed, now: datetime) -> bool:
    """Return True if a visitor's view of this photo, which wants an attempt, releases the photo at once.

    The first view releases a photo that has not failed. A view at least a minute (`RETRY_VIEWED_AFTER`) after the last
    attempt releases a failed photo, unless it is in flight or given up. No view releases a claimed photo.
    """
    if photo.is_claimed(now):
        return False
    if photo.failure is None:
        return photo.priority is not Priority.VIEWED
    if photo.released_at is not None or retry.is_given_up(photo.failure, photo.attempts, feed):
        return False
    return photo.attempted_at is None or photo.attempted_at + RETRY_VIEWED_AFTER <= now


def request(photo: Photo, priority: Priority, forced_at: datetime | None = None) -> Photo:
    """Return the photo as an `image-outdated` event for it, just read from the topic, changes it.

    `priority` is the event's; the photo takes it if it is more urgent than the photo's own. `forced_at` is the event's
    time if its reason is `forced`, else None. If it is given, the photo becomes forced, unless the photo was attempted
    or its copy checked at that time or later: then the event has been served already.
    """
    priority = most_urgent(photo.priority, priority)
    last = newest(photo.attempted_at, photo.copy.checked_at if photo.copy else None)
    if forced_at is not None and is_newer(forced_at, last):
        return replace(photo, priority=priority, forced_at=to_millisecond(forced_at))
    return replace(photo, priority=priority)


def force(photo: Photo, priority: Priority, now: datetime) -> Photo:
    """Return the photo forced by an operator: due now, not in flight, and with the given priority if more urgent."""
    forced = defer(photo, now)
    return replace(forced, forced_at=now, priority=most_urgent(photo.priority, priority))


def recheck(photo: Photo, due_at: datetime, now: datetime) -> Photo:
    """Return the photo, which has a copy, with a recheck of the copy due at `due_at`."""
    return replace(photo, forced_at=now, not_before=due_at)


def rebuild(photo: Photo, now: datetime) -> Photo:
    """Return the photo, which has a copy, with a rebuild of the copy's variants due now."""
    copy = replace(photo.copy, rendering=REBUILD_WANTED) if photo.copy else None
    return replace(defer(photo, now), copy=copy, forced_at=now)
