"""Downloads a photo: fetches it from its origin, checks it, encodes its variants, and stores all in object storage."""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from services.downloader import judging, resizer
from services.downloader.answers import Fetched, NotModified, Validators, with_validators
from services.downloader.encoders import Encoders
from services.downloader.fetch import Fetcher
from services.downloader.no_photos import KnownNoPhotos
from services.downloader.outcomes import Downloaded, Outcome, Unchanged
from services.downloader.permit import Permit
from services.downloader.picture import Encoded, EncodedVariant
from shared.clock import Clock
from shared.domain import keys
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import Copy, Photo, Variant, url_key
from shared.domain.priority import Priority
from shared.domain.variants import VariantSpec, current_renderings, rendering
from shared.stores.objects import Bucket, Objects


class Downloader:
    """Downloads photos of all feeds into object storage; keeps no state from one photo to the next."""

    def __init__(
        self,
        fetcher: Fetcher,
        encoders: Encoders,
        objects: Objects,
        no_photos: KnownNoPhotos,
        specs: Sequence[VariantSpec],
        clock: Clock,
    ) -> None:
        self._fetcher = fetcher
        self._encoders = encoders
        self._objects = objects
        self._no_photos = no_photos
        self._specs = tuple(specs)
        self._rendering = rendering(self._specs, resizer.NAME)
        self._current = current_renderings(self._specs)
        self._clock = clock

    async def download(self, feed: Feed, listing_key: str, photo: Photo, permit: Permit) -> Outcome:
        """Attempt to get a good copy of a photo of the listing `listing_key`: fetch, check, encode and store it.

        If a rebuild was asked for, make the variants from the stored original, without a request to the origin.
        `permit.report_answer` is called once, as soon as the origin is no longer needed, unless an exception comes
        first. The photo's record is not written.

        Return Downloaded with the stored copy, Unchanged if the origin still has the version that the copy was made of,
        or the Failure of the origin or the photo. Raises OSError if the disk is full, StoreUnavailable if object
        storage or the feed's ledger cannot be reached, and Contention if the ledger cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix="listing-images-") as folder:
            original = await self._stored_original(photo, Path(folder))
            if original and photo.wants_rebuild:
                await permit.report_answer(NotModified(original.etag, original.last_modified))
                return await self._encode(feed, listing_key, photo, original)
            if photo.wants_rebuild and (feed.single_use_urls or feed.refreshes_urls):
                await permit.report_answer(NotModified(None, None))
                return Failure(Reason.INTERNAL_ERROR, "the stored original is lost, and its URL works once")
            return await self._fetch(feed, listing_key, photo, original, Path(folder), permit)

    async def _fetch(
        self, feed: Feed, listing_key: str, photo: Photo, original: Fetched | None, folder: Path, permit: Permit
    ) -> Outcome:
        """Fetch the photo and make a copy of a new file; ask conditionally if "not modified" would be a useful answer.

        `original` is the stored original if the variants must be rebuilt, else None. The origin's answer is reported to
        `permit`.
        """
        no_photos = await self._no_photos.hashes(feed.name)
        refused = None if original else judging.refused_before(photo)
        validators = Validators(refused.etag, refused.last_modified) if refused else self._validators(photo, original)
        answer = await self._fetcher.fetch(photo.url, feed, folder, validators, permit)
        await permit.report_answer(answer)
        match answer:
            case Failure():
                return judging.with_lateness(answer, photo, self._clock())
            case NotModified(etag, last_modified) if original:
                original = replace(original, etag=etag, last_modified=last_modified)
                return await self._encode(feed, listing_key, photo, original)
            case NotModified(etag, last_modified) if refused:
                return with_validators(refused, etag, last_modified)
            case NotModified(etag, last_modified):
                return Unchanged(etag, last_modified)
            case Fetched() if self._is_held(photo, answer):
                return Unchanged(answer.etag, answer.last_modified)
            case Fetched() if marked := judging.failure_if_marked(answer.sha256, no_photos):
                return with_validators(marked, answer.etag, answer.last_modified)
            case Fetched():
                return await self._encode(feed, listing_key, photo, answer)

    async def _stored_original(self, photo: Photo, folder: Path) -> Fetched | None:
        """If the variants of the photo's copy must be rebuilt, save the stored original in `folder`; return that file.

        Return None if the variants have a current rendering, if there is no copy, or if object storage lacks the
        original.
        """
        copy = photo.copy
        if copy is None or copy.rendering in self._current:
            return None
        path = folder / "original"
        if not await self._objects.save(Bucket.ORIGINALS, copy.original_key, path):
            return None
        return Fetched(path, copy.file_size, copy.sha256, copy.etag, copy.last_modified)

    def _validators(self, photo: Photo, original: Fetched | None) -> Validators | None:
        """Return the validators of the photo's copy, or None if the request must be unconditional.

        The request must be unconditional if there is no copy, if the copy's validators came from another URL, or if the
        variants must be rebuilt and the original is lost (`original` None).
        """
        copy = photo.copy
        if copy is None or copy.source_url_key != url_key(photo.url):
            return None  # another picture may have the same date
        if copy.rendering not in self._current and original is None:
            return None
        return Validators(copy.etag, copy.last_modified)

    def _is_held(self, photo: Photo, fetched: Fetched) -> bool:
        copy = photo.copy
        return copy is not None and copy.sha256 == fetched.sha256 and copy.rendering in self._current

    async def _encode(self, feed: Feed, listing_key: str, photo: Photo, source: Fetched) -> Downloaded | Failure:
        """Encode the variants of the file `source`, and store them and the file in object storage as a new copy.

        Return Downloaded with the copy, or a Failure if the photo cannot be encoded or is a no-photo picture.
        """
        is_urgent = photo.priority is Priority.VIEWED
        encoded = await self._encoders.encode(
            source.path, source.path.parent, self._specs, feed.max_pixels, urgent=is_urgent
        )
        if isinstance(encoded, Failure):
            return with_validators(encoded, source.etag, source.last_modified)
        if tiny := judging.failure_if_tiny(photo.copy, encoded.width, encoded.height, source.file_size):
            return with_validators(tiny, source.etag, source.last_modified)
        folder = keys.folder(feed.name, listing_key, photo.object_id, source.sha256)
        return Downloaded(await self._store(folder, source, encoded))

    async def _store(self, folder: str, source: Fetched, encoded: Encoded) -> Copy:
        """Store the original and its variants in object storage under the key prefix `folder`; return the new copy."""
        original_key = f"{folder}original.{encoded.extension}"
        variants = tuple(self._variant(folder, variant) for variant in encoded.variants)
        await asyncio.gather(
            self._objects.put(Bucket.ORIGINALS, original_key, source.path, encoded.content_type),
            *(
                self._objects.put(Bucket.PUBLIC, variant.key, file.path, variant.content_type)
                for variant, file in zip(variants, encoded.variants, strict=True)
            ),
        )
        now = self._clock()
        return Copy(
            sha256=source.sha256,
            original_key=original_key,
            content_type=encoded.content_type,
            width=encoded.width,
            height=encoded.height,
            file_size=source.file_size,
            variants=variants,
            rendering=self._rendering,
            thumbhash=encoded.thumbhash,
            etag=source.etag,
            last_modified=source.last_modified,
            mls_changed_at=None,  # set when the outcome is settled
            downloaded_at=now,
            checked_at=now,
        )

    def _variant(self, folder: str, encoded: EncodedVariant) -> Variant:
        return Variant(
            name=encoded.name,
            key=f"{folder}{encoded.name}-{self._rendering}.{encoded.extension}",
            content_type=encoded.content_type,
            width=encoded.width,
            height=encoded.height,
            file_size=encoded.file_size,
            is_cropped=encoded.is_cropped,
        )
