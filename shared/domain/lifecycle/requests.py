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
    """Return the photo with the given priority if it is more urgent than the photo's own; otherwise unchanged."""
    return replace(photo, priority=most_urgent(photo.priority, priority))


def view(photo: Photo, feed: Feed, now: datetime) -> Photo:
    """Return the photo, which wants an attempt, after a visitor viewed it: it has the priority `VIEWED`.

    If `is_released_by_view` returns True, the photo is also released. The caller must then write the photo, and after
    that publish `image-outdated` for it.
    """
    viewed = raise_priority(photo, Priority.VIEWED)
    return release(viewed, now) if is_released_by_view(photo, feed, now) else viewed


def is_released_by_view(photo: Photo, feed: Feed, now: datetime) -> bool:
    """Return True if a visitor's view of this photo, which wants an attempt, releases the photo at once.

    A photo that has not failed is released by its first view. A failed photo is released by a view at least a minute
    (`RETRY_VIEWED_AFTER`) after its last attempt, unless the photo is in flight or given up. A claimed photo is not
    released.
    """
    if photo.is_claimed(now):
        return False
    if photo.failure is None:
        return photo.priority is not Priority.VIEWED
    if photo.released_at is not None or retry.is_given_up(photo.failure, photo.attempts, feed):
        return False
    return photo.attempted_at is None or photo.attempted_at + RETRY_VIEWED_AFTER <= now


def request(photo: Photo, priority: Priority, forced_at: datetime | None = None) -> Photo:
    """Return the photo as changed by an `image-outdated` event for it, which was read from the topic.

    The photo gets the event's `priority` if it is more urgent than the photo's own. `forced_at` is the event's time if
    the event's reason is `forced`, else None. If it is given, the photo becomes forced. But if the photo was attempted,
    or its copy checked, at that time or later, the event was served already and forces nothing.
    """
    priority = most_urgent(photo.priority, priority)
    last = newest(photo.attempted_at, photo.copy.checked_at if photo.copy else None)
    if forced_at is not None and is_newer(forced_at, last):
        return replace(photo, priority=priority, forced_at=to_millisecond(forced_at))
    return replace(photo, priority=priority)


def force(photo: Photo, priority: Priority, now: datetime) -> Photo:
    """Return the photo forced by an operator: it is due now and not in flight.

    The photo gets the given priority if it is more urgent than the photo's own.
    """
    forced = defer(photo, now)
    return replace(forced, forced_at=now, priority=most_urgent(photo.priority, priority))


def recheck(photo: Photo, due_at: datetime, now: datetime) -> Photo:
    """Return the photo, which has a copy, with a recheck planned: the photo is forced, and due at `due_at`."""
    return replace(photo, forced_at=now, not_before=due_at)


def rebuild(photo: Photo, now: datetime) -> Photo:
    """Return the photo, which has a copy, with a rebuild of the copy's variants due now.

    An attempt in flight is not waited for.
    """
    copy = replace(photo.copy, rendering=REBUILD_WANTED) if photo.copy else None
    return replace(defer(photo, now), copy=copy, forced_at=now)
