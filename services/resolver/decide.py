"""The resolver's rules, without I/O: which photos a request raises in priority, and what to show of a photo."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from shared.domain import lifecycle
from shared.domain.failures import Reason
from shared.domain.feed import Feed
from shared.domain.image import Copy, Photo, Variant
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.answers import ShownPhoto

SOON_SECONDS = 5
"""Retry-After for a photo in flight, unless its turn in the queue is known to come later."""
_MAX_QUEUE_SECONDS = 3_600.0
"""Longer estimates of the queue are cut to this, because they are unreliable. A known due time is not cut."""


@dataclass(frozen=True, slots=True)
class Raised:
    """Holds a listing whose photos were raised in priority, not written yet, and the photos that this releases.

    The caller must write `listing` to MongoDB, and then publish `image-outdated` for each photo in `released`.
    """

    listing: Listing
    released: tuple[Photo, ...]


def raise_photos(
    listing: Listing, image_ids: Collection[str], priority: Priority, feed: Feed, now: datetime
) -> Raised | None:  # fmt: skip
    """Return the listing with the photos in `image_ids` raised to `priority`, except photos that want no attempt.

    Priority `viewed` also releases the photos that may be released at `now`; the result names them. Returns None if no
    photo changes, such as at the second view of the same photo. Nothing is written: the caller writes the listing and
    publishes the released photos. `feed` is the listing's feed.
    """
    changed: list[Photo] = []
    released: list[Photo] = []
    for photo in listing.photos:
        if photo.id in image_ids and listing.photo_due_at(photo):
            if priority is Priority.VIEWED:
                after = lifecycle.view(photo, feed, now)
                if lifecycle.is_released_by_view(photo, feed, now):
                    released.append(after)
            else:
                after = lifecycle.raise_priority(photo, priority)
            if after != photo:
                changed.append(after)
    return Raised(listing.with_photos(changed), tuple(released)) if changed else None


class Absence(Enum):
    """The reasons why a photo has no copy to show."""

    GONE = auto()
    """The origin said that the photo does not exist."""
    ON_ITS_WAY = auto()
    """The photo is in flight, or waits for its first attempt."""
    LATER = auto()
    """The photo's last attempt failed."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Says that a photo has no copy to show, and why.

    `due_at` is when the next attempt is due; None if none is due or the photo is in flight.
    """

    reason: Absence
    due_at: datetime | None


def find_copy(found: ShownPhoto, requested_at: datetime) -> Copy | Absent:
    """Return a photo's copy; if the photo has none, return why, and when its next attempt is due.

    `requested_at` is when the visitor asked. While the photo is in flight, a failure recorded before `requested_at` is
    ignored, because the present attempt may succeed. The failure that the photo is gone at the origin is never ignored.
    """
    photo, due_at = found.photo, found.due_at
    if photo.copy is not None:
        return photo.copy
    if photo.failure is not None and photo.failure.reason is Reason.GONE:
        return Absent(Absence.GONE, due_at)
    has_failed_since = (
        photo.failure is not None and photo.attempted_at is not None and photo.attempted_at >= requested_at
    )
    if photo.released_at is not None and not has_failed_since:
        # While in flight, the due time is the end of the lease, not when the photo is expected.
        return Absent(Absence.ON_ITS_WAY, None)
    return Absent(Absence.ON_ITS_WAY if photo.failure is None else Absence.LATER, due_at)


def retry_after_seconds(absent: Absent, queue_seconds: float | None, now: datetime) -> int:
    """Return the value of Retry-After, in seconds, to send with the placeholder of a photo that is `absent`.

    If the photo has no due time, the value is 5. Otherwise it is the time from `now` until the photo is due, plus
    `queue_seconds`. It is at least 5 for a photo on its way, and at least 1 for a photo whose last attempt failed.
    `queue_seconds` is how long a viewed photo that becomes due now waits for its turn; None, for unknown, counts as 0,
    and more than an hour counts as an hour.
    """
    if absent.due_at is None:
        return SOON_SECONDS
    queued = min(queue_seconds or 0.0, _MAX_QUEUE_SECONDS)
    seconds = max(0.0, (absent.due_at - now).total_seconds()) + queued
    earliest = SOON_SECONDS if absent.reason is Absence.ON_ITS_WAY else 1
    return max(earliest, math.ceil(seconds))


def find_variant(copy: Copy, name: str, configured: Collection[str]) -> Variant | None:
    """Return the variant `name` of a copy; if the copy lacks it although it is configured, the copy's full variant.

    A copy made by older settings may lack a configured variant. `configured` are the names of the variants in the
    present settings. Returns None if `name` is neither in the copy nor configured: the caller then refuses the request.
    """
    found: Sequence[Variant] = [variant for variant in copy.variants if variant.name == name]
    if found:
        return found[0]
    return copy.full if name in configured else None
