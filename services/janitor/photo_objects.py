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
    """Holds a discard whose objects were deleted from storage, except for those that storage refused to delete."""

    listing: Listing
    discard: Discard
    remained: Sequence[str]
    """Keys of the objects that storage refused to delete."""

    @property
    def object_count(self) -> int:
        """How many objects in both buckets the discard names, whether deleted or refused."""
        return len(self.discard.public_keys) + len(self.discard.original_keys)


class PhotoObjects:
    """Finds and deletes the objects of photos in both buckets of the object storage.

    Each method raises StoreUnavailable if the storage does not answer.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def add_unrecorded(self, listing: Listing) -> Listing:
        """Return the listing with all stored objects of each photo that is being removed added to the photo's discard.

        The objects are looked up in storage, because a downloader may have stored some without recording them. The
        caller must write the listing before deleting the objects. Discards of superseded copies, which are no whole
        photos, are left as they are.
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
        """Delete from storage the objects of the listings' discards whose removal has begun; return these discards.

        Each result says which objects storage refused to delete. Each bucket gets one call for all listings together.
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
        """Return the listing without each copy that shares keys with a discard of `deleted` and misses a stored object.

        The photos of these copies are due at `now`. Nothing is written: the caller writes the result. A copy misses an
        object if this janitor stalled before it deleted the objects of `deleted`: meanwhile another janitor finished
        the removal, and the copy was stored again under the same keys. The caller must have read the listing after the
        deletion. A listing without such a copy is returned as it is.
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
        """List the keys in a bucket that begin with one of `prefixes`, and return them by the prefix of their photo.

        A prefix is that of a photo, or of a listing, under which all its photos are. A photo without objects is absent.
        """
        found: dict[str, list[str]] = defaultdict(list)
        for listed in await asyncio.gather(*(self._objects.list(bucket, prefix) for prefix in prefixes)):
            for key in listed:
                found[key[: _photo_prefix_length(key)]].append(key)
        return found


def _photo_prefix_length(key: str) -> int:
    """Return how many characters of an object's key are the prefix of its photo: up to and with the third slash."""
    end = 0
    for _ in range(3):
        end = key.find("/", end) + 1
    return end
