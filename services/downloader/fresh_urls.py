"""Knows the URLs of photos as the MLS gave them moments ago, for feeds whose announced URLs expire or work once."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.image import Photo, fresh_url_key
from shared.domain.listing import Listing
from shared.stores.documents import ListingId

_MAX_AGE_SECONDS = 30.0
"""How long after it was read a URL may be used: MLSs are known to give URLs an hour, and strict ones a minute."""


class UrlsUnavailable(Exception):
    """Raised if URLs of photos cannot be read now. The message holds no URL.

    `wait_seconds` is how long to wait before the next try.
    """

    def __init__(self, detail: str, wait_seconds: float) -> None:
        super().__init__(detail)
        self.wait_seconds = wait_seconds


class UrlSource(Protocol):
    """A source from which URLs of photos are read anew: the MLS's API, or a hook of the site's ingest."""

    async def read(self, listings: Sequence[Listing]) -> Mapping[ListingId, Mapping[str, str]]:
        """Return the URLs that the listings' photos have now: for each listing, the URLs by the photo's id.

        A photo that the source no longer has is left out. Raises UrlsUnavailable if the source cannot be read now.
        """


@dataclass(slots=True)
class _Read:
    """The URLs of a listing's photos that are not used yet, by the photo's id.

    `at` is the time at which the URLs were read, in seconds of a monotonic clock.
    """

    at: float
    urls: dict[str, str] = field(default_factory=dict)


class FreshUrls:
    """Reads the URLs of listings' photos from a source, and keeps each in memory for 30 seconds or until it is used.

    One request returns the URLs of all photos of a listing, and the groups in which these photos are downloaded follow
    each other within seconds.
    """

    def __init__(self, source: UrlSource, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._read: dict[ListingId, _Read] = {}
        self._reading = asyncio.Lock()

    async def of(self, wanted: Mapping[ListingId, tuple[Listing, Sequence[Photo]]]) -> Mapping[str, str]:
        """Return a URL that may be requested for each of the photos, by the photo's id.

        `wanted` maps the id of each listing to the recorded listing and to those of its photos that need a URL. A photo
        is left out if the source has no URL for it, or gives only the URL that was used for it before. Raises
        UrlsUnavailable if the source cannot be read now.
        """
        async with self._reading:
            now = self._monotonic()
            self._read = {key: read for key, read in self._read.items() if now - read.at < _MAX_AGE_SECONDS}
            unread = [
                listing
                for key, (listing, photos) in wanted.items()
                if key not in self._read or not {photo.id for photo in photos} <= self._read[key].urls.keys()
            ]
            if unread:
                for key, urls in (await self._source.read(unread)).items():
                    self._read[key] = _Read(now, dict(urls))
        return {
            photo.id: url
            for key, (_, photos) in wanted.items()
            for photo in photos
            if key in self._read
            and (url := self._read[key].urls.get(photo.id))
            and fresh_url_key(url) != photo.used_url_key
        }

    def use(self, listing_id: ListingId, image_ids: Iterable[str]) -> None:
        """Forget the URLs of photos of a listing, because they are about to be requested."""
        if read := self._read.get(listing_id):
            for image_id in image_ids:
                read.urls.pop(image_id, None)
