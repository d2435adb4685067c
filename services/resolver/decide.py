"""What follows from a question: which photos become more urgent, and what can be shown of one. Pure."""

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
"""Retry-After while a photo is on its way and nothing says that it takes longer."""
_LONGEST_QUEUE_SECONDS = 3_600.0
"""An estimate of more says nothing; when a photo is due is known, and said however late it is."""


@dataclass(frozen=True, slots=True)
class Raised:
    """A listing with photos more urgent than before; `released` are those that a person waits for."""

    listing: Listing
    released: tuple[Photo, ...]


def raised(listing: Listing, images: Collection[str], to: Priority, feed: Feed, now: datetime) -> Raised | None:
    """Raise those of the images that want an attempt; None where nothing changes, as at every view but the first."""
    changed: list[Photo] = []
    released: list[Photo] = []
    for photo in listing.photos:
        if photo.id in images and listing.photo_due_at(photo):
            if to is Priority.VIEWED:
                after = lifecycle.view(photo, feed, now)
                if lifecycle.is_released_by_view(photo, feed, now):
                    released.append(after)
            else:
                after = lifecycle.raise_priority(photo, to)
            if after != photo:
                changed.append(after)
    return Raised(listing.with_photos(changed), tuple(released)) if changed else None


class Missing(Enum):
    """Why there is nothing to show of a photo."""

    GONE = auto()
    ON_ITS_WAY = auto()
    LATER = auto()


@dataclass(frozen=True, slots=True)
class Absent:
    """No copy: why, and when the next attempt is due; None where there is none, or it is in work already."""

    why: Missing
    due_at: datetime | None


def shown(found: ShownPhoto, asked_at: datetime) -> Copy | Absent:
    """Return what can be shown of a photo to someone who asked then."""
    photo, due_at = found.photo, found.due_at
    if photo.copy is not None:
        return photo.copy
    if photo.failure is not None and photo.failure.reason is Reason.GONE:
        return Absent(Missing.GONE, due_at)
    has_failed_since = photo.failure is not None and photo.attempted_at is not None and photo.attempted_at >= asked_at
    if photo.released_at is not None and not has_failed_since:
        # It is due again once its lease ends, which says nothing of when it comes.
        return Absent(Missing.ON_ITS_WAY, None)
    return Absent(Missing.ON_ITS_WAY if photo.failure is None else Missing.LATER, due_at)


def retry_after(absent: Absent, queue_seconds: float | None, now: datetime) -> int:
    """Return after how many seconds to ask for an absent photo again: once it is due and had its turn."""
    if absent.due_at is None:
        return SOON_SECONDS
    queued = min(queue_seconds or 0.0, _LONGEST_QUEUE_SECONDS)
    seconds = max(0.0, (absent.due_at - now).total_seconds()) + queued
    earliest = SOON_SECONDS if absent.why is Missing.ON_ITS_WAY else 1
    return max(earliest, math.ceil(seconds))


def variant(copy: Copy, name: str, known: Collection[str]) -> Variant | None:
    """Return the named variant; one that a copy of older settings lacks is answered by its full one."""
    found: Sequence[Variant] = [one for one in copy.variants if one.name == name]
    if found:
        return found[0]
    return copy.full if name in known else None
