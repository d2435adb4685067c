"""Stores in memory that record a forbidden change when it is written."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shared.clock import Clock
from shared.domain.image import Copy, Photo
from shared.domain.listing import Listing, copy_keys
from shared.render import Renderer
from shared.stores.documents import ListingId
from shared.stores.memory import MemoryListings, MemoryObjects
from shared.stores.objects import Bucket
from tests.stateful.processes import Process, current

_VERIFIED_WITHIN = timedelta(seconds=1)


class WatchedListings(MemoryListings):
    """Listings in memory that check each change as it is written, and know since when a photo may not be shown.

    `violations` has a text for each forbidden change.
    """

    def __init__(self, renderer: Renderer, clock: Clock, objects: "WatchedObjects") -> None:
        super().__init__(renderer)
        self._clock = clock
        self._objects = objects
        self.violations: list[str] = []
        self.not_shown_since: dict[str, datetime] = {}
        """By image id: since when the photo may not be shown."""
        self.ever_recorded: dict[str, tuple[ListingId, str]] = {}
        """By object key: the listing and the image whose copy was recorded with it."""

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        """Write the listings one by one, check each against the recorded one, and return the ids of refused ones."""
        refused: set[ListingId] = set()
        for listing in listings:
            before = await self.get(listing.feed, listing.key)
            if refusal := await super().write([listing]):
                refused |= set(refusal)
            else:
                self._compare(before, listing)
        return refused

    def _compare(self, before: Listing | None, after: Listing) -> None:
        shown = {photo.id for photo in after.photos} if after.is_displayed else set()
        for photo in before.photos if before else ():
            if photo.id not in shown:
                self.not_shown_since.setdefault(photo.id, self._clock())
            is_removed = any(discard.whole and discard.image_id == photo.id for discard in after.discards)
            if (now := after.photo(photo.id)) and not is_removed:
                self._check_copy(photo, now)
                self._check_claim(photo, now)
        for image_id in shown:
            self.not_shown_since.pop(image_id, None)
        for photo in after.photos:
            for key in copy_keys(photo.copy) if photo.copy else ():
                self.ever_recorded[key] = (after.feed, after.key), photo.id

    def _check_copy(self, before: Photo, after: Photo) -> None:
        if before.copy is None or before.copy is after.copy:
            return
        if after.copy is None and self._objects.has(copy_keys(before.copy)):
            self.violations.append(f"{after.object_id}: a good copy was dropped")
        elif after.copy and _is_another(before.copy, after.copy) and _version(after.copy) < _version(before.copy):
            self.violations.append(f"{after.object_id}: a good copy was replaced by one of an older version")

    def _check_claim(self, before: Photo, after: Photo) -> None:
        if after.copy is None or (before.copy and not _is_another(before.copy, after.copy)):
            return
        writer = current()
        if writer is None or before.claim is None or before.claim.worker != writer.name:
            self.violations.append(f"{after.object_id}: a copy recorded by a worker without a claim")

    @property
    def documents(self) -> dict[ListingId, dict[str, object]]:
        """Return all recorded listings by id, as the documents in which they are stored."""
        return dict(self._documents)


def _is_another(former: Copy, other: Copy) -> bool:
    return former.downloaded_at != other.downloaded_at


def _version(copy: Copy) -> tuple[bool, datetime]:
    return copy.mls_changed_at is not None, copy.mls_changed_at or copy.downloaded_at


class WatchedObjects(MemoryObjects):
    """Buckets in memory that know every object ever stored, who stored it, and what stalled processes deleted."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._deleted_late: dict[str, tuple[datetime, Process[Any]]] = {}
        self.ever: dict[Bucket, set[str]] = {bucket: set() for bucket in Bucket}
        self.last_stored_by: dict[str, Process[Any]] = {}

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        """Delete the objects, and remember those that a process deleted after a stall: another may have overtaken it.

        Return the keys that could not be deleted.
        """
        if (process := current()) and process.stops:
            self._deleted_late |= dict.fromkeys(keys, (self._clock(), process))
        return await super().delete(bucket, keys)

    def is_left_to_audit(self, key: str) -> bool:
        """Return True if a process deleted the object after a stop, and may not have checked since if a copy lost it.

        Such a loss stays until an audit finds it.
        """
        at, process = self._deleted_late.get(key, (None, None))
        return process is not None and at is not None and (process.stops > 1 or self._clock() - at < _VERIFIED_WITHIN)

    def has(self, keys: Collection[str]) -> bool:
        """Return True if all objects with these keys are stored, in whichever bucket."""
        return all(any(key in contents for contents in self.contents.values()) for key in keys)

    def of(self, process: Process[Any]) -> "_Storing":
        """Return the buckets as the process uses them: its puts are remembered as its own."""
        return _Storing(self, process)

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        """Store an object, and remember its key as one that was ever stored in the bucket."""
        await super().put(bucket, key, source, content_type)
        self.ever[bucket].add(key)


class _Storing:
    def __init__(self, objects: WatchedObjects, process: Process[Any]) -> None:
        self._objects = objects
        self._process = process

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        await self._objects.put(bucket, key, source, content_type)
        self._objects.last_stored_by[key] = self._process
