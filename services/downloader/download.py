"""One photo from its origin into our storage: fetched, checked, made into its variants, stored."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from services.downloader.answers import Answer, Fetched, NotModified, Validators
from services.downloader.encoders import Encoders
from services.downloader.fetch import Fetcher, Permit, Received
from services.downloader.outcomes import Downloaded, Outcome, Unchanged
from services.downloader.picture import Encoded
from shared.clock import Clock
from shared.domain import keys
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import Copy, Photo, Variant
from shared.domain.priority import Priority
from shared.domain.variants import VariantSpec, rendering
from shared.stores.objects import Bucket, Objects

Told = Callable[[Answer], Awaitable[None]]


class Download:
    """Downloads photos, each by itself."""

    def __init__(
        self, fetcher: Fetcher, encoders: Encoders, objects: Objects, specs: Sequence[VariantSpec], clock: Clock
    ) -> None:
        self._fetcher = fetcher
        self._encoders = encoders
        self._objects = objects
        self._specs = tuple(specs)
        self._rendering = rendering(self._specs)
        self._clock = clock

    async def __call__(
        self,
        feed: Feed,
        listing_key: str,
        photo: Photo,
        permit: Permit,
        in_time: Permit,
        received: Received,
        fetched: Told,
    ) -> Outcome:
        """Attempt to get a good copy; `fetched` is told as soon as the origin has nothing more to do with it.

        A bad photo is an outcome. Raises StoreUnavailable where storage is away, OSError where the disk is full.
        """
        with tempfile.TemporaryDirectory(prefix="listing-images-") as folder:
            held = await self._original(photo, Path(folder))
            if held and not photo.is_outdated:
                await fetched(NotModified(held.etag, held.last_modified))  # nothing came from the origin
                return await self._made(feed, listing_key, photo, held, Path(folder))
            if photo.wants_rebuild and feed.single_use_urls:
                await fetched(NotModified(None, None))
                return Failure(Reason.INTERNAL_ERROR, "the stored original is lost, and its URL works once")
            validators = self._validators(photo, held)
            answer = await self._fetcher.fetch(photo.url, feed, Path(folder), validators, permit, received, in_time)
            await fetched(answer)
            if isinstance(answer, Failure):
                return answer
            if isinstance(answer, NotModified) and held:
                same = replace(held, etag=answer.etag, last_modified=answer.last_modified)
                return await self._made(feed, listing_key, photo, same, Path(folder))
            if isinstance(answer, NotModified) or self._is_held(photo, answer):
                return Unchanged(answer.etag, answer.last_modified)
            return await self._made(feed, listing_key, photo, answer, Path(folder))

    async def _original(self, photo: Photo, folder: Path) -> Fetched | None:
        """Return the stored original where its variants are of other settings."""
        copy = photo.copy
        if copy is None or copy.rendering == self._rendering:
            return None
        path = folder / "original"
        if not await self._objects.save(Bucket.ORIGINALS, copy.original_key, path):
            return None
        return Fetched(path, copy.file_size, copy.sha256, copy.etag, copy.last_modified)

    async def _made(
        self, feed: Feed, listing_key: str, photo: Photo, source: Fetched, folder: Path
    ) -> Downloaded | Failure:
        urgent = photo.priority is Priority.VIEWED
        encoded = await self._encoders.encode(source.path, folder, self._specs, feed.max_pixels, urgent=urgent)
        if isinstance(encoded, Failure):
            return encoded
        return Downloaded(await self._store(feed.name, listing_key, photo, source, encoded))

    def _validators(self, photo: Photo, held: Fetched | None) -> Validators | None:
        """Ask only for something newer, unless the same bytes are wanted in another rendering and were lost."""
        copy = photo.copy
        if copy is None or (copy.rendering != self._rendering and held is None):
            return None
        return Validators(copy.etag, copy.last_modified)

    def _is_held(self, photo: Photo, fetched: Fetched) -> bool:
        copy = photo.copy
        return copy is not None and (copy.sha256, copy.rendering) == (fetched.sha256, self._rendering)

    async def _store(self, feed: str, listing_key: str, photo: Photo, fetched: Fetched, encoded: Encoded) -> Copy:
        folder = keys.folder(feed, listing_key, photo.object_id, fetched.sha256)
        original_key = f"{folder}original.{encoded.extension}"
        variants = tuple(
            Variant(
                name=one.name,
                key=f"{folder}{one.name}-{self._rendering}.{one.extension}",
                content_type=one.content_type,
                width=one.width,
                height=one.height,
                file_size=one.file_size,
            )
            for one in encoded.variants
        )
        paths = [one.path for one in encoded.variants]
        await asyncio.gather(
            self._objects.put(Bucket.ORIGINALS, original_key, fetched.path, encoded.content_type),
            *(
                self._objects.put(Bucket.PUBLIC, variant.key, path, variant.content_type)
                for variant, path in zip(variants, paths, strict=True)
            ),
        )
        now = self._clock()
        return Copy(
            sha256=fetched.sha256,
            original_key=original_key,
            content_type=encoded.content_type,
            width=encoded.width,
            height=encoded.height,
            file_size=fetched.file_size,
            variants=variants,
            rendering=self._rendering,
            thumbhash=encoded.thumbhash,
            etag=fetched.etag,
            last_modified=fetched.last_modified,
            mls_changed_at=None,  # known only when it is settled
            downloaded_at=now,
            checked_at=now,
        )
