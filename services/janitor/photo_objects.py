"""The objects of photos that are being removed: finds all of them in storage, deletes them, and looks after them."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.janitor import decide
from shared.domain import keys, lifecycle
from shared.domain.listing import Discard, Listing
from shared.stores.objects import Bucket, Objects


@dataclass(frozen=True, slots=True)
class DeletedDiscard:
    """A discard of a listing whose objects were deleted, except for those that storage refused to delete."""

    listing: Listing
    discard: Discard
    remained: Sequence[str]
    """Keys of the objects that storage refused to delete."""

    @property
    def object_count(self) -> int:
        """How many objects the discard names, deleted or refused."""
        return len(self.discard.public_keys) + len(self.discard.original_keys)


class PhotoObjects:
    """Finds and deletes photos' objects in both buckets. Each method raises StoreUnavailable."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def add_unrecorded(self, listing: Listing) -> Listing:
        """Return a listing with all stored objects of its whole photos that are being removed in their discards.

        A worker may have stored some without recording them. They have to be recorded before they are deleted.
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
        completed = {
            discard: lifecycle.add_objects(discard, public.get(prefix, ()), originals.get(prefix, ()))
            for discard, prefix in prefixes.items()
        }
        return replace(listing, discards=tuple(completed.get(discard, discard) for discard in listing.discards))

    async def delete(self, listings: Sequence[Listing]) -> list[DeletedDiscard]:
        """Delete the objects of all discards of the listings that are being removed, with one call for each bucket."""
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
        """Return a listing without the copies that share keys with deleted discards and of which an object is missing.

        Those photos are due at `now`. Such a copy was stored again after another janitor had finished the removal, and
        this one, which had stalled, deleted it. The listing must have been read after the deletion.
        """
        doubtful = decide.doubtful(listing, deleted)
        if not doubtful:
            return listing
        prefixes = {keys.photo_prefix(listing.feed, listing.key, photo.object_id) for photo in doubtful}
        found = [await self._keys_by_photo(bucket, prefixes) for bucket in Bucket]
        stored = {key for by_photo in found for photo_keys in by_photo.values() for key in photo_keys}
        return decide.without_lost_copies(listing, doubtful, stored, now)

    async def _keys_by_photo(self, bucket: Bucket, prefixes: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """List the keys below some prefixes, by the prefix of the photo to which each belongs."""
        found: dict[str, list[str]] = defaultdict(list)
        for listed in await asyncio.gather(*(self._objects.list(bucket, prefix) for prefix in prefixes)):
            for key in listed:
                found[key[: _photo_prefix_length(key)]].append(key)
        return found


def _photo_prefix_length(key: str) -> int:
    """Return how long the photo's prefix is in an object's key: it ends behind the third slash."""
    end = 0
    for _ in range(3):
        end = key.find("/", end) + 1
    return end
