"""Searches for listings by ListingKey in all feeds, by image, by URL, or by filters, for operators."""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.listing import Listing
from shared.stores.summaries import ListingFilter, ListingSummary


class ListingSearch(Protocol):
    """Finds recorded listings by ListingKey, image, URL, or filters.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        """Return the recorded listings with this ListingKey, of all feeds; empty if there are none.

        Raises StoreUnavailable.
        """

    async def by_image(self, image_id: str) -> Listing | None:
        """Return the recorded listing that has the photo `image_id`; None if no listing has it.

        Raises StoreUnavailable.
        """

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        """Return the recorded listings of all feeds with a photo that was announced under a certain URL.

        `url_key` is the key of that URL, as `image.url_key` returns it. Raises StoreUnavailable.
        """

    async def search(self, wanted: ListingFilter, after: str, limit: int) -> Sequence[ListingSummary]:
        """Return summaries of up to `limit` recorded listings that match `wanted`, sorted by ListingKey.

        Only listings whose ListingKey sorts after `after` are returned; "" excludes none. Raises StoreUnavailable.
        """
