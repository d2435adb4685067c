"""Do a listing's record and its objects agree? What is recorded must be held, and nothing else."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.image import Copy, Photo
from shared.domain.keys import photo_prefix
from shared.domain.listing import Listing

ORPHAN_AFTER = timedelta(days=1)
"""What no record knows of may be on its way into one: a download stores its objects before it is settled."""


class Drift(StrEnum):
    """How record and storage may disagree."""

    MISSING = "missing"
    EMPTY = "empty"
    WRONG_SIZE = "wrong-size"
    WRONG_HASH = "wrong-hash"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as storage lists it."""

    key: str
    size: int
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One object on which record and storage disagree; an orphan belongs to no image."""

    drift: Drift
    key: str
    is_original: bool
    feed: str
    listing_key: str
    image_id: str | None = None


def compare(
    listing: Listing, public: Sequence[StoredObject], originals: Sequence[StoredObject], now: datetime
) -> list[Finding]:  # fmt: skip
    """Compare a listing with all objects below its prefix."""
    found: list[Finding] = []
    for is_original, held in ((False, public), (True, originals)):
        sizes = {one.key: one.size for one in held}
        for photo, copy in _copies(listing):
            for key, size in _expected(copy, is_original=is_original).items():
                if drift := _drift(sizes.get(key), size):
                    found.append(Finding(drift, key, is_original, listing.feed, listing.key, photo.id))
        unknown = unreferenced_keys(listing, sizes)
        found += [
            Finding(Drift.ORPHAN, one.key, is_original, listing.feed, listing.key)
            for one in held
            if one.key in unknown and orphan(one, now)
        ]
    return found


def unreferenced_keys(listing: Listing, keys: Iterable[str]) -> set[str]:
    """Return those of the keys that no copy and no discard names, and that no download under way may have stored."""
    known = {key for _, copy in _copies(listing) for key in (copy.original_key, *(one.key for one in copy.variants))}
    known |= {key for discard in listing.discards for key in (*discard.public_keys, *discard.original_keys)}
    in_work = tuple(
        photo_prefix(listing.feed, listing.key, photo.object_id)
        for photo in listing.photos
        if photo.released_at is not None or photo.claim is not None
    )
    return {key for key in keys if key not in known and not key.startswith(in_work)}


def orphan(held: StoredObject, now: datetime) -> bool:
    """Whether an object that no record knows of has been there too long to be on its way into one."""
    return held.stored_at < now - ORPHAN_AFTER


def is_read(photo: Photo, share: float, salt: str) -> bool:
    """Whether the photo's original is read in this audit: a share of them, others at every salt."""
    chance = int.from_bytes(hashlib.sha256(f"{salt}|{photo.id}".encode()).digest()[:8]) / 2**64
    return chance < share


def _copies(listing: Listing) -> Iterator[tuple[Photo, Copy]]:
    return ((photo, photo.copy) for photo in listing.photos if photo.copy)


def _expected(copy: Copy, *, is_original: bool) -> Mapping[str, int]:
    if is_original:
        return {copy.original_key: copy.file_size}
    return {variant.key: variant.file_size for variant in copy.variants}


def _drift(held: int | None, recorded: int) -> Drift | None:
    if held is None:
        return Drift.MISSING
    if held == recorded:
        return None
    return Drift.WRONG_SIZE if held else Drift.EMPTY
