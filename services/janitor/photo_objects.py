"""Finds and deletes the stored objects of photos that are being removed."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.janitor import decide
from shared.domain import keys, lifecycle
from shared.domain.listing import Discard, Listing, copy_keys
from shared.stores.objects import Bucket, Objects


@dataclass(frozen=True, slots=True)
class DeletedDiscard:
    """A discard of `listing` whose objects were deleted from storage, except for the objects in `remained`."""

    listing: Listing
    discard: Discard
    remained: Sequence[str]
    """Keys of the objects that storage refused to delete."""

    @property
    def object_count(self) -> int:
        """The number of objects that the discard names in both buckets, including those that were not deleted."""
        return len(self.discard.public_keys) + len(self.discard.original_keys)


class PhotoObjects:
    """Finds and deletes the objects of photos in both buckets of the object storage.

    Each method raises StoreUnavailable if the storage does not answer.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def add_unrecorded(self, listing: Listing) -> Listing:
        """Look up all stored objects of each photo that is being removed; return the listing with them in the discards.

        A downloader may have stored objects without recording them. Each photo's objects are added to the photo's
        discard, except for objects that another photo's copy uses. Discards of superseded copies, which are not whole
        photos, stay as they are. The caller must write the listing before it deletes the objects.
        """
        wholes = [discard for discard in listing.removing if discard.whole]
        if not wholes:
            return listing
        prefixes = {discard: keys.photo_prefix(listing.feed, listing.key, discard.object_id) for discard in wholes}
        if listing.photos or len(wholes) == 1:
            listed_prefixes: Collection[str] = prefixes.values()
        else:
            listed_prefixes = [keys.listing_prefix(listing.feed, listing.key)]
        public, originals = await asyncio.gather(
            self._keys_by_photo(Bucket.PUBLIC, listed_prefixes), self._keys_by_photo(Bucket.ORIGINALS, listed_prefixes)
        )
        # A renamed photo has its copy under its former name until the copy is rebuilt.
        used = {key for photo in listing.photos if photo.copy for key in copy_keys(photo.copy)}
        completed = {
            discard: lifecycle.add_objects(
                discard, set(public.get(prefix, ())) - used, set(originals.get(prefix, ())) - used
            )
            for discard, prefix in prefixes.items()
        }
        return replace(listing, discards=tuple(completed.get(discard, discard) for discard in listing.discards))

    async def delete(self, listings: Sequence[Listing]) -> list[DeletedDiscard]:
        """Delete from storage the objects of all the listings' discards that are being removed; return these discards.

        Each result also has the keys of the objects that storage refused to delete. Each bucket gets one call for all
        listings together.
        """
        removing = [(listing, discard) for listing in listings for discard in listing.removing]
        refused = await asyncio.gather(
            self._objects.delete(Bucket.PUBLIC, [key for _, discard in removing for key in discard.public_keys]),
            self._objects.delete(Bucket.ORIGINALS, [key for _, discard in removing for key in discard.original_keys]),
        )
        public, originals = map(set, refused)
        return [
            DeletedDiscard(
                listing,
                discard,
                [*public.intersection(discard.public_keys), *originals.intersection(discard.original_keys)],
            )
            for listing, discard in removing
        ]

    async def lose_deleted_copies(self, listing: Listing, deleted: Collection[Discard], now: datetime) -> Listing:
        """Return the listing without each copy that has lost a stored object by the deletion of the discards `deleted`.

        The photos of these copies are due at `now`. A copy loses an object if this janitor stalled before the deletion:
        another janitor finished the same removal first, and a downloader stored the copy again under the same keys. The
        caller must have read the listing after the deletion, and writes the result. A listing that has no such copy is
        returned unchanged.
        """
        doubtful = decide.photos_using(listing, deleted)
        if not doubtful:
            return listing
        copies = [photo.copy for photo in doubtful if photo.copy]
        prefixes = {key[: _photo_prefix_length(key)] for copy in copies for key in copy_keys(copy)}
        found = [await self._keys_by_photo(bucket, prefixes) for bucket in Bucket]
        stored = {key for by_photo in found for photo_keys in by_photo.values() for key in photo_keys}
        return decide.without_lost_copies(listing, doubtful, stored, now)

    async def _keys_by_photo(self, bucket: Bucket, prefixes: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """Find the keys in a bucket that start with one of `prefixes`, and return them by the prefix of their photo.

        A prefix in `prefixes` is the start of the keys of one photo, or of all photos of a listing. A photo without
        objects is missing in the result.
        """
        found: dict[str, list[str]] = defaultdict(list)
        for listed in await asyncio.gather(*(self._objects.list(bucket, prefix) for prefix in prefixes)):
            for key in listed:
                found[key[: _photo_prefix_length(key)]].append(key)
        return found


def _photo_prefix_length(key: str) -> int:
    """Return the length of the photo's prefix in an object's key: the prefix ends with the third slash."""
    end = 0
    for _ in range(3):
        end = key.find("/", end) + 1
    return end
