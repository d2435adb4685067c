"""Finds pictures that an operator may mark as no-photo pictures: by a photo, or by how many listings share them."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from shared.domain.listing import Listing
from shared.stores.listing_search import ListingSearch
from shared.stores.listings import ListingRecords

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGE_SIZE = 200
_MAX_COUNTED = 1_000_000
"""How many hashes are counted at most: beyond, those that only one listing had so far are forgotten, to save memory."""


@dataclass(frozen=True, slots=True)
class SharedPicture:
    """A picture of which several listings have a copy: its hash, how many listings have one, and the key of one."""

    sha256: str
    listings: int
    listing_key: str


async def find_hash(listings: ListingSearch, feed: str, picture: str) -> str | None:
    """Return the SHA-256, in hex, of the picture that an operator names: by its SHA-256, or by an image id.

    An image id names the original of the image's copy. Return None if `picture` is neither a SHA-256 nor the id of an
    image of the feed that has a copy. Raises StoreUnavailable.
    """
    if _SHA256.fullmatch(picture):
        return picture
    listing = await listings.by_image(picture)
    photo = listing.photo(picture) if listing is not None and listing.feed == feed else None
    return photo.copy.sha256 if photo is not None and photo.copy is not None else None


async def most_shared(
    listings: ListingRecords, feed: str, limit: int, *, max_counted: int = _MAX_COUNTED
) -> Sequence[SharedPicture]:
    """Return up to `limit` pictures that several listings of a feed share, those of the most listings first.

    Reads all listings of the feed, page by page. `max_counted` bounds the memory: with more pictures, those that only
    one listing had so far are forgotten. Raises StoreUnavailable.
    """
    counts, keys = Counter[str](), dict[str, str]()
    async for listing in _all(listings, feed):
        for sha256 in {photo.copy.sha256 for photo in listing.photos if photo.copy}:
            counts[sha256] += 1
            keys[sha256] = listing.key
        if len(counts) > max_counted:
            counts = Counter({sha256: count for sha256, count in counts.items() if count > 1})
            keys = {sha256: keys[sha256] for sha256 in counts}
    shared = takewhile(lambda counted: counted[1] > 1, counts.most_common(limit))
    return [SharedPicture(sha256, count, keys[sha256]) for sha256, count in shared]


async def _all(listings: ListingRecords, feed: str) -> AsyncIterator[Listing]:
    """Yield all recorded listings of the feed, in the order of their keys."""
    last = ""
    while page := await listings.page(feed, last, _PAGE_SIZE):
        for listing in page:
            yield listing
        last = page[-1].key
