"""What clients ask for, as keys of the resolver's caches."""

from typing import NamedTuple


class ListingLookup(NamedTuple):
    """Names the answers about a listing: there is one for each feed that displays the listing."""

    listing_key: str
    feed: str | None
    """Only the answer of this feed; None: of all feeds."""
    max_photos: int | None
    """Only so many of the first photos; None: all photos."""


class PhotoLookup(NamedTuple):
    """Names a photo by its image id, or by the key of one of its URLs at the MLS. Exactly one of the two is given."""

    image_id: str | None
    url_key: str | None = None
    listing_key: str | None = None
    """Only a photo of this listing; None: of any listing."""

    @property
    def key(self) -> str:
        """The image id or the URL key, whichever is given."""
        return self.image_id or self.url_key or ""

    def admits(self, listing_key: str) -> bool:
        """Return True if a photo of this listing may be the one that is looked up."""
        return self.listing_key in (None, listing_key)
