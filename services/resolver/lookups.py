"""The keys of the resolver's caches: which listing or photo a client asks for."""

from typing import NamedTuple


class ListingLookup(NamedTuple):
    """The cache key of the answers about a listing. Each feed that displays the listing has its own answer."""

    listing_key: str
    feed: str | None
    """The feed whose answer is wanted; None for the answers of all feeds."""
    max_photos: int | None
    """How many of the first photos are wanted; None for all photos."""


class PhotoLookup(NamedTuple):
    """The cache key of a photo: its image id, or the key of one of its URLs at the MLS. One of the two is given."""

    image_id: str | None
    url_key: str | None = None
    listing_key: str | None = None
    """The ListingKey of the listing that must show the photo; None for any listing."""

    @property
    def key(self) -> str:
        """The image id if given, else the URL key."""
        return self.image_id or self.url_key or ""

    def admits(self, listing_key: str) -> bool:
        """Return True if the lookup is not limited to another listing than this one."""
        return self.listing_key in (None, listing_key)
