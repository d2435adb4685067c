"""The keys of the resolver's caches: which listing or photo a client asks for."""

from typing import NamedTuple


class ListingLookup(NamedTuple):
    """The cache key of the answers about one listing: one answer for each feed that displays the listing.

    The feed that a request names is no part of the key, because made-up names of feeds would fill the cache.
    """

    listing_key: str
    max_photos: int | None
    """How many of the first photos are wanted; None for all photos."""


class PhotoLookup(NamedTuple):
    """The cache key of one photo, which is named either by `image_id` or by `url_key`, the key of one of its MLS URLs.

    One of the two is None. `shared.domain.image.url_key` makes the key of a URL.
    """

    image_id: str | None
    url_key: str | None = None
    listing_key: str | None = None
    """The ListingKey of the listing that must show the photo; None for any listing."""

    @property
    def key(self) -> str:
        """The image id of the photo if the lookup has one, else the key of its URL."""
        return self.image_id or self.url_key or ""

    def admits(self, listing_key: str) -> bool:
        """Return True if a photo of this listing may be found: the lookup names no listing, or names this one."""
        return self.listing_key in (None, listing_key)
