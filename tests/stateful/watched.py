"""The stores in memory, watched: what may never happen is seen at the moment when it does."""

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

_LOOKED_AFTER = timedelta(seconds=1)


class WatchedListings(MemoryListings):
    """Sees every change of a listing, and remembers since when something is not to be shown any more."""

    def __init__(self, renderer: Renderer, clock: Clock, objects: "WatchedObjects") -> None:
        super().__init__(renderer)
        self._clock = clock
        self._objects = objects
        self.faults: list[str] = []
        self.not_shown_since: dict[str, datetime] = {}
        """By image."""
        self.ever_recorded: dict[str, tuple[ListingId, str]] = {}
        """By object key: whose copy was ever recorded with it."""

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        """Write, and compare before with after."""
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
            is_removed = any(gone.whole and gone.image_id == photo.id for gone in after.discards)
            if (now := after.photo(photo.id)) and not is_removed:
                self._compare_copies(photo, now)
                self._is_by_its_holder(photo, now)
        for image in shown:
            self.not_shown_since.pop(image, None)
        for photo in after.photos:
            for key in copy_keys(photo.copy) if photo.copy else ():
                self.ever_recorded[key] = (after.feed, after.key), photo.id

    def _compare_copies(self, before: Photo, after: Photo) -> None:
        if before.copy is None or before.copy is after.copy:
            return
        if after.copy is None and self._objects.has(copy_keys(before.copy)):
            self.faults.append(f"{after.object_id}: a good copy was dropped")
        elif after.copy and _is_another(before.copy, after.copy) and _version(after.copy) < _version(before.copy):
            self.faults.append(f"{after.object_id}: a good copy was replaced by one of an older version")

    def _is_by_its_holder(self, before: Photo, after: Photo) -> None:
        if after.copy is None or (before.copy and not _is_another(before.copy, after.copy)):
            return
        writer = current()
        if writer is None or before.claim is None or before.claim.worker != writer.name:
            self.faults.append(f"{after.object_id}: a copy recorded by one who has no claim to it")

    @property
    def documents(self) -> dict[ListingId, dict[str, object]]:
        """Everything that is recorded, as it is stored."""
        return dict(self._documents)


def _is_another(one: Copy, other: Copy) -> bool:
    return one.downloaded_at != other.downloaded_at


def _version(copy: Copy) -> tuple[bool, datetime]:
    return copy.mls_changed_at is not None, copy.mls_changed_at or copy.downloaded_at


class WatchedObjects(MemoryObjects):
    """Remembers everything that was ever stored, and what was left behind by a process that died."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._deleted_late: dict[str, tuple[datetime, Process[Any]]] = {}
        self.ever: dict[Bucket, set[str]] = {bucket: set() for bucket in Bucket}
        self.last_stored_by: dict[str, Process[Any]] = {}

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        """Delete, and remember what was deleted by one that had stood still: it may have been overtaken."""
        if (process := current()) and process.stops:
            self._deleted_late |= dict.fromkeys(keys, (self._clock(), process))
        return await super().delete(bucket, keys)

    def is_for_the_audit(self, key: str) -> bool:
        """Whether it was deleted by a process that stood still, and then did not come to look what it had done."""
        at, process = self._deleted_late.get(key, (None, None))
        return process is not None and at is not None and (process.stops > 1 or self._clock() - at < _LOOKED_AFTER)

    def has(self, keys: Collection[str]) -> bool:
        """Whether all of the objects are there."""
        return all(any(key in held for held in self.held.values()) for key in keys)

    def of(self, process: Process[Any]) -> "_Storing":
        """A process's way to the buckets."""
        return _Storing(self, process)

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        """Store and remember."""
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
