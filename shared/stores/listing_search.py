"""Searches for listings by ListingKey in all feeds, by image, by URL, or by filters, for operators."""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.listing import Listing
from shared.stores.summaries import ListingFilter, ListingSummary


class ListingSearch(Protocol):
    """Finds listings by ListingKey, image, URL, or filters. Each method raises StoreUnavailable."""

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        """Return the listings with this ListingKey, of all feeds."""

    async def by_image(self, image_id: str) -> Listing | None:
        """Return the listing whose record has the photo with this image id; None if no listing's has."""

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        """Return the listings with a photo that was announced under the URL that has this key (`image.url_key`)."""

    async def search(self, wanted: ListingFilter, after: str, limit: int) -> Sequence[ListingSummary]:
        """Return up to `limit` listings that match `wanted`, in the order of their ListingKeys.

        The first is the one that follows the ListingKey `after`; "" stands for the start.
        """
