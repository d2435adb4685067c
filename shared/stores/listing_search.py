"""Which listing does an operator mean? Listings by what else is known of them than their id."""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.listing import Listing
from shared.stores.summaries import ListingFilter, ListingSummary


class ListingSearch(Protocol):
    """Finds listings by key, image, URL, or filters."""

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        """Return the listings with this ListingKey, of all feeds."""

    async def by_image(self, image_id: str) -> Listing | None:
        """Return the listing that shows the image, or None."""

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        """Return the listings with a photo that was announced under the URL with this key (`image.url_key`)."""

    async def search(self, wanted: ListingFilter, after: str, limit: int) -> Sequence[ListingSummary]:
        """Return up to `limit` matching listings by ListingKey, beginning behind the key `after`; "" is the start."""
