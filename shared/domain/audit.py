"""Do a listing's record and its stored objects agree? They do if each recorded object is stored, and no other is."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.image import Copy, Photo
from shared.domain.keys import photo_prefix
from shared.domain.listing import Listing, copy_keys

ORPHAN_AFTER = timedelta(days=1)
"""A younger object may be on its way into a record: a download stores its objects before it is settled."""


class Drift(StrEnum):
    """How a listing's record and storage disagree about an object.

    ORPHAN: no record names the object. The others: the record names it, and storage has no such object, an empty one,
    or one of another size or hash.
    """

    MISSING = "missing"
    EMPTY = "empty"
    WRONG_SIZE = "wrong-size"
    WRONG_HASH = "wrong-hash"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a bucket, as storage describes it; `size` is in bytes."""

    key: str
    size: int
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """An object about which a listing's record and storage disagree.

    `is_original` is True if the object is, or should be, in the bucket of originals, False for the public bucket.
    `image_id` is None for an orphan, which belongs to no image.
    """

    drift: Drift
    key: str
    is_original: bool
    feed: str
    listing_key: str
    image_id: str | None = None


def find_drift(
    listing: Listing, public: Sequence[StoredObject], originals: Sequence[StoredObject], now: datetime
) -> list[Finding]:  # fmt: skip
    """Compare a listing's record with its stored objects; return a finding for each object about which they disagree.

    `public` and `originals` are all objects whose keys have the listing's prefix, in the public bucket and in the
    bucket of originals. Objects are compared by size only, not by hash.
    """
    findings: list[Finding] = []
    for is_original, stored in ((False, public), (True, originals)):
        sizes = {found.key: found.size for found in stored}
        for photo, copy in _copies(listing):
            for key, size in _recorded_sizes(copy, is_original=is_original).items():
                if drift := _drift(sizes.get(key), size):
                    findings.append(Finding(drift, key, is_original, listing.feed, listing.key, photo.id))
        unreferenced = unreferenced_keys(listing, sizes)
        findings += [
            Finding(Drift.ORPHAN, found.key, is_original, listing.feed, listing.key)
            for found in stored
            if found.key in unreferenced and is_orphan(found, now)
        ]
    return findings


def unreferenced_keys(listing: Listing, keys: Iterable[str]) -> set[str]:
    """Return those of the given object keys that no copy and no discard of the listing names.

    All keys must be of this listing's objects. Keys of photos in flight are not returned: a download may have stored
    their objects and not been recorded yet.
    """
    named = {key for _, copy in _copies(listing) for key in copy_keys(copy)}
    named |= {key for discard in listing.discards for key in (*discard.public_keys, *discard.original_keys)}
    in_flight = tuple(
        photo_prefix(listing.feed, listing.key, photo.object_id)
        for photo in listing.photos
        if photo.released_at is not None or photo.claim is not None
    )
    return {key for key in keys if key not in named and not key.startswith(in_flight)}


def is_orphan(stored: StoredObject, now: datetime) -> bool:
    """Return True if an object that no record names is an orphan: stored more than a day (`ORPHAN_AFTER`) ago."""
    return stored.stored_at < now - ORPHAN_AFTER


def is_sampled(photo: Photo, share: float, salt: str) -> bool:
    """Return True if the photo is in an audit's sample: the audit compares its stored original with the recorded hash.

    `share` (0 to 1) is the share of all photos that are in the sample. `salt` is a text that the audit chooses; another
    salt selects another sample.
    """
    chance = int.from_bytes(hashlib.sha256(f"{salt}|{photo.id}".encode()).digest()[:8]) / 2**64
    return chance < share


def _copies(listing: Listing) -> Iterator[tuple[Photo, Copy]]:
    return ((photo, photo.copy) for photo in listing.photos if photo.copy)


def _recorded_sizes(copy: Copy, *, is_original: bool) -> Mapping[str, int]:
    if is_original:
        return {copy.original_key: copy.file_size}
    return {variant.key: variant.file_size for variant in copy.variants}


def _drift(stored_size: int | None, recorded_size: int) -> Drift | None:
    if stored_size is None:
        return Drift.MISSING
    if stored_size == recorded_size:
        return None
    return Drift.WRONG_SIZE if stored_size else Drift.EMPTY
