"""Finds listings in MongoDB by key, image, URL, or filters."""

from collections.abc import Sequence

from pymongo import ASCENDING

from shared.domain.listing import Listing
from shared.stores.documents import Document
from shared.stores.mongo.listing_records import MongoListingRecords
from shared.stores.summaries import ListingFilter, ListingSummary

_LAST_CHARACTER = "\U0010ffff"


class MongoListingSearch(MongoListingRecords):
    """Finds listings in MongoDB by ListingKey, image, URL, or filters; implements ListingSearch."""

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        return await self._find({"listing_key": listing_key})

    async def by_image(self, image_id: str) -> Listing | None:
        return next(iter(await self._find({"photos.id": image_id}, limit=1)), None)

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        return await self._find({"photos.url_keys": url_key})

    async def search(self, wanted: ListingFilter, after: str, limit: int) -> Sequence[ListingSummary]:
        query: Document = {"feed": wanted.feed, "listing_key": {"$gt": after}}
        if wanted.prefix:
            query["listing_key"] |= {"$gte": wanted.prefix, "$lt": f"{wanted.prefix}{_LAST_CHARACTER}"}
        # The most selective filter comes first: its index is used, and the other filters are applied to its results.
        filters = [
            ("photos.failure.reason", wanted.reason and wanted.reason.value, "by_failure"),
            ("displayed", wanted.displayed, "listing_key_1_feed_1" if wanted.displayed else "hidden"),
            ("photos.status", wanted.status and wanted.status.value, "by_status"),
            ("city", wanted.city, "by_city"),
        ]
        given = [(name, value, hint) for name, value, hint in filters if value is not None]
        query |= {name: value for name, value, _ in given}
        hint = next((hint for *_, hint in given if hint != "listing_key_1_feed_1"), "listing_key_1_feed_1")
        return await self._summaries(query, [("listing_key", ASCENDING)], limit, hint)
