"""Judges what an origin's answer means for a photo: a file refused before, a late photo, a picture of no photo."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.failures import REFUSED, Failure, Reason
from shared.domain.image import Copy, Photo

_MAY_BE_LATE_FOR = timedelta(hours=1)
"""How long after its announcement, by the MLS's clock, a photo may still be on its way to the origin."""
_TINY_SIDE = 2
_TINY_BYTES = 1_000


def refused_before(photo: Photo) -> Failure | None:
    """Return the photo's recorded failure if the origin's file was refused and validators of this file are known.

    The next request then asks for the file only if the file has changed. Return None in all other cases, and if an
    operator forced the photo: the feed's rules may have changed, and may no longer refuse the file.
    """
    failure = photo.failure
    if failure is None or photo.forced_at is not None or failure.reason not in REFUSED:
        return None
    return failure if failure.etag or failure.last_modified else None


def with_lateness(failure: Failure, photo: Photo, now: datetime) -> Failure:
    """Return the failure of a fetch, with `may_come` set if the photo may still be on its way to the origin.

    `may_come` is set if the origin does not have the photo, and the MLS announced the photo less than an hour ago. MLSs
    announce photos before their image hosts have them. Any other failure is returned unchanged.
    """
    announced_at = photo.announced_at
    if failure.reason is not Reason.GONE or announced_at is None or abs(now - announced_at) >= _MAY_BE_LATE_FOR:
        return failure
    return replace(failure, may_come=True)


def failure_if_tiny(copy: Copy | None, width: int, height: int, file_size: int) -> Failure | None:
    """Return a Failure if a new picture is too small to replace the photo's copy; None if it may replace the copy.

    `width` and `height` in pixels and `file_size` in bytes are the new picture's. `copy` is the photo's copy, None if
    there is none. Origins send a picture of a pixel, or of a few bytes, in place of a photo that they cannot find.
    """
    if copy is None or _is_tiny(copy.width, copy.height, copy.file_size) or not _is_tiny(width, height, file_size):
        return None
    return Failure(Reason.NO_PHOTO, f"{width} x {height} pixels in {file_size} bytes; the copy is a larger picture")


def failure_if_marked(sha256: str, marked: Collection[str]) -> Failure | None:
    """Return a Failure if an operator marked the file as a no-photo picture; None for any other file.

    `sha256` is the file's hash. `marked` are the hashes of the feed's marked pictures. All hashes are in hex.
    """
    if sha256 not in marked:
        return None
    return Failure(Reason.NO_PHOTO, "an operator marked this picture as no photo (imagectl placeholders)")


def _is_tiny(width: int, height: int, file_size: int) -> bool:
    return max(width, height) <= _TINY_SIDE or file_size < _TINY_BYTES
