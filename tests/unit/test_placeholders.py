"""Tests how operators find the pictures that they may mark as no photo."""

from ops.placeholders import SharedPicture, find_hash, most_shared
from shared.render import Renderer
from shared.stores.memory import MemoryListings
from tests.builders import FEED, a_copy, a_downloaded_photo, a_listing, a_photo


async def recorded(**hashes: str) -> MemoryListings:
    """Return listings by key; each letter of the text stands for a photo with a copy of that hash."""
    listings = MemoryListings(Renderer("http://x"))
    for key, letters in hashes.items():
        photos = [
            a_downloaded_photo(f"{at}", key=key, copy=a_copy(f"{at}", key=key, sha256=letter * 64))
            for at, letter in enumerate(letters)
        ]
        await listings.write([a_listing(*photos, a_photo("none", key=key), key=key)])
    return listings


async def test_pictures_are_sorted_by_how_many_listings_share_them() -> None:
    listings = await recorded(X1="abb", X2="ac", X3="acd", X4="e")
    often, twice = SharedPicture("a" * 64, 3, "X3"), SharedPicture("c" * 64, 2, "X3")
    assert await most_shared(listings, FEED, 9) == [often, twice]
    assert await most_shared(listings, FEED, 1) == [often]
    assert await most_shared(listings, FEED, 9, max_counted=2) == [often]  # rare pictures were forgotten
    assert await most_shared(listings, "other", 9) == []


async def test_a_picture_is_named_by_its_hash_or_by_an_image_that_shows_it() -> None:
    listings = await recorded(X1="a")
    shown, missing = a_photo("0", key="X1").id, a_photo("none", key="X1").id
    assert await find_hash(listings, FEED, "f" * 64) == "f" * 64
    assert await find_hash(listings, FEED, shown) == "a" * 64
    for picture in (missing, a_photo("9").id, "front door", "F" * 64):
        assert await find_hash(listings, FEED, picture) is None
    assert await find_hash(listings, "other", shown) is None
