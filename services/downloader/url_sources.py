"""Reads the URLs of photos anew: from the API of a feed's MLS, or from a hook of the site's ingest."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from importlib.metadata import version

import httpx
import orjson

from services.downloader.fresh_urls import UrlsUnavailable
from shared import log
from shared.domain import announcement
from shared.domain.announcement import InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.domain.image import image_id
from shared.domain.listing import Listing
from shared.reso.errors import MlsFailure, MlsUnavailable
from shared.reso.feed_reader import FeedReader
from shared.reso.record_reader import KeyedRecords
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable

_RETRY_SECONDS = 30.0
"""When to read URLs again after a failure that names no time."""
_HOOK_SECONDS = 10.0
_MAX_HOOK_BYTES = 4 * 1024 * 1024
_logger = log.get(__name__)


class ApiUrls:
    """Reads the URLs of photos from the API of one feed's MLS."""

    def __init__(self, feed: Feed, reader: FeedReader) -> None:
        self._feed = feed
        self._reader = reader

    async def read(self, listings: Sequence[Listing]) -> Mapping[ListingId, Mapping[str, str]]:
        try:
            answer = await self._records(listings)
        except MlsUnavailable as error:
            raise UrlsUnavailable(str(error), max(error.wait_seconds or _RETRY_SECONDS, 1.0)) from None
        except (StoreUnavailable, Contention) as error:
            raise UrlsUnavailable(str(error), _RETRY_SECONDS) from None
        found: dict[ListingId, Mapping[str, str]] = {}
        for key, record in answer.records.items():
            try:
                photos = announcement.read(self._feed, record).photos or ()
            except InvalidPropertyRecord as error:
                _logger.warning("record-unusable", feed=self._feed.name, listing_key=key, reason=str(error))
                continue
            found[self._feed.name, key] = {
                image_id(self._feed.name, key, photo.object_id): photo.url for photo in photos
            }
        return found

    async def _records(self, listings: Sequence[Listing]) -> KeyedRecords:
        """Ask the MLS for the listings by ListingKey. If the MLS refuses that query, ask by ModificationTimestamp.

        Raises MlsUnavailable if the MLS refuses the last query or does not answer.
        """
        try:
            return await self._reader.records([listing.key for listing in listings])
        except MlsUnavailable as error:
            times = {listing.key: listing.modified_at for listing in listings if listing.modified_at}
            if error.failure is not MlsFailure.BAD_QUERY or not times:
                raise
            return await self._reader.records_at(times)


class HookUrls:
    """Reads the URLs of photos from the address that `refresh_url_hook` names, with one POST for each listing."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._transport = httpx.AsyncHTTPTransport(trust_env=False)
        self._agent = f"listing-images/{version('listing-images')}"

    async def aclose(self) -> None:
        """Close all connections to the hook; this object must not be used afterwards."""
        await self._transport.aclose()

    async def read(self, listings: Sequence[Listing]) -> Mapping[ListingId, Mapping[str, str]]:
        found = await asyncio.gather(*(self._urls(listing) for listing in listings))
        return {(listing.feed, listing.key): urls for listing, urls in zip(listings, found, strict=True)}

    async def _urls(self, listing: Listing) -> Mapping[str, str]:
        """Ask the hook for the URLs of the listing's photos, and return the URLs by the photo's id.

        The hook answers with the URLs by MediaKey. A photo that is missing in the answer is left out. Raises
        UrlsUnavailable if the hook does not answer, or answers in another form than agreed.
        """
        keys = [photo.media_key for photo in listing.photos]
        body = await self._answer({"feed": listing.feed, "listing_key": listing.key, "media_keys": keys})
        try:
            rows = orjson.loads(body)["media"]
            urls = {str(row["MediaKey"]): row["MediaURL"] for row in rows if isinstance(row["MediaURL"], str)}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise UrlsUnavailable("refresh_url_hook gave no answer of the agreed form", _RETRY_SECONDS) from None
        return {photo.id: urls[photo.media_key] for photo in listing.photos if photo.media_key in urls}

    async def _answer(self, question: Mapping[str, object]) -> bytes:
        headers = {"User-Agent": self._agent, "Content-Type": "application/json", "Accept-Encoding": "identity"}
        request = httpx.Request("POST", self._feed.refresh_url_hook, content=orjson.dumps(question), headers=headers)
        body = bytearray()
        try:
            async with (
                asyncio.timeout(_HOOK_SECONDS),
                aclosing(await self._transport.handle_async_request(request)) as response,
            ):
                if response.status_code != 200:
                    raise UrlsUnavailable(f"refresh_url_hook answered {response.status_code}", _RETRY_SECONDS)
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > _MAX_HOOK_BYTES:
                        raise UrlsUnavailable("refresh_url_hook's answer is too large", _RETRY_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, TimeoutError) as error:
            raise UrlsUnavailable(f"refresh_url_hook: {type(error).__name__}", _RETRY_SECONDS) from None
        return bytes(body)
