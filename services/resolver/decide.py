"""Which photos does a request make more urgent, and what can be shown of a photo? Pure."""

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
"""A longer estimate of the queue says nothing. When a photo is due is known, however late that is."""


@dataclass(frozen=True, slots=True)
class Raised:
    """A listing with photos of raised priority; `released` are those of them that must be published as viewed."""

    listing: Listing
    released: tuple[Photo, ...]


def raise_photos(
    listing: Listing, image_ids: Collection[str], priority: Priority, feed: Feed, now: datetime
) -> Raised | None:  # fmt: skip
    """Raise those of the photos that want an attempt to the priority; a view also releases them.

    None if that changes nothing, as at each view of a photo but the first.
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
    """Why there is nothing to show of a photo."""

    GONE = auto()
    """The origin said that the photo does not exist."""
    ON_ITS_WAY = auto()
    """It is in flight, or waits for its first attempt."""
    LATER = auto()
    """Its last attempt failed."""


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no copy. `due_at` is when the next attempt is due; None if none is, or if the photo is in flight."""

    reason: Absence
    due_at: datetime | None


def find_copy(found: ShownPhoto, requested_at: datetime) -> Copy | Absent:
    """Return the photo's copy, or why there is none.

    A failure counts for the photo's visitor, who asked at `requested_at`, only if the attempt ended since: an older one
    does not say that the attempt under way fails.
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
        # Its due time is the end of its lease, which says nothing of when the photo comes.
        return Absent(Absence.ON_ITS_WAY, None)
    return Absent(Absence.ON_ITS_WAY if photo.failure is None else Absence.LATER, due_at)


def retry_after_seconds(absent: Absent, queue_seconds: float | None, now: datetime) -> int:
    """Return after how many seconds an absent photo is worth asking for again: when it is due and had its turn.

    `queue_seconds` is how long viewed photos that are due now take; None if unknown.
    """
    if absent.due_at is None:
        return SOON_SECONDS
    queued = min(queue_seconds or 0.0, _MAX_QUEUE_SECONDS)
    seconds = max(0.0, (absent.due_at - now).total_seconds()) + queued
    earliest = SOON_SECONDS if absent.reason is Absence.ON_ITS_WAY else 1
    return max(earliest, math.ceil(seconds))


def find_variant(copy: Copy, name: str, configured: Collection[str]) -> Variant | None:
    """Return the copy's variant of this name; None if the name is unknown.

    A copy made by older settings may lack a variant that is configured now: then its full one is returned.
    """
    found: Sequence[Variant] = [variant for variant in copy.variants if variant.name == name]
    if found:
        return found[0]
    return copy.full if name in configured else None
