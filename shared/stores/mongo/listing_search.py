"""Finds listings in MongoDB by what else is known of them than their id."""

from collections.abc import Sequence

from pymongo import ASCENDING

from shared.domain.listing import Listing
from shared.stores.documents import Document
from shared.stores.mongo.listing_records import MongoListingRecords
from shared.stores.summaries import ListingFilter, ListingSummary

_LAST_CHARACTER = "\U0010ffff"


class MongoListingSearch(MongoListingRecords):
    """Implements ListingSearch."""

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        """Return the listings with this key, of every feed."""
        return await self._find({"listing_key": listing_key})

    async def by_image(self, image_id: str) -> Listing | None:
        """Return the listing that shows the image."""
        return next(iter(await self._find({"photos.id": image_id}, limit=1)), None)

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        """Return the listings with a photo announced under this URL."""
        return await self._find({"photos.url_keys": url_key})

    async def search(self, wanted: ListingFilter, after: str, limit: int) -> Sequence[ListingSummary]:
        """Return listings by key, those after the key given; "" begins."""
        query: Document = {"feed": wanted.feed, "listing_key": {"$gt": after}}
        if wanted.prefix:
            query["listing_key"] |= {"$gte": wanted.prefix, "$lt": f"{wanted.prefix}{_LAST_CHARACTER}"}
        # The rarest first: its index is read, and what else is asked for is looked at in what it leads to.
        filters = [
            ("photos.failure.reason", wanted.reason and wanted.reason.value, "by_failure"),
            ("displayed", wanted.displayed, "listing_key_1_feed_1" if wanted.displayed else "hidden"),
            ("photos.status", wanted.status and wanted.status.value, "by_status"),
            ("city", wanted.city, "by_city"),
        ]
        asked = [one for one in filters if one[1] is not None]
        query |= {name: value for name, value, _ in asked}
        hint = next((hint for *_, hint in asked if hint != "listing_key_1_feed_1"), "listing_key_1_feed_1")
        return await self._summaries(query, [("listing_key", ASCENDING)], limit, hint)
