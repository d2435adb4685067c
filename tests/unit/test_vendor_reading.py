"""Does the scheduler read all that each vendor's API has, within the vendor's quotas? As the emulators play them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from local.sandbox import Sandbox, vendors
from shared.clock import utc_now
from shared.reso.feed_reader import FeedReader
from tests.builders import after
from tests.vendor_feeds import client_of, feed_of

pytestmark = pytest.mark.slow

LONG_AGO = after(-400 * 86_400)
VENDORS = [name for name in vendors.NAMES if name != "generic"]
LISTINGS, PHOTOS = 30, 12


class Fast:
    """A clock that runs twenty times as fast as ours, so that the pauses of a client under test may be short."""

    def __init__(self) -> None:
        self._start = utc_now()

    def __call__(self) -> datetime:
        return self._start + (utc_now() - self._start) * 20


@asynccontextmanager
async def reading(vendor: str, cache: Path) -> AsyncIterator[tuple[Sandbox, FeedReader]]:
    mls = Sandbox(listings=LISTINGS, photos=PHOTOS, widest=160, cache=cache, vendor=vendor, clock=Fast())
    async with mls:
        feed = feed_of(mls)
        reader = FeedReader(feed, client_of(mls, feed))
        yield mls, reader
        await reader.aclose()


def complete(mls: Sandbox, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the ListingKeys of the records that have every photo of their listing."""
    pictures = {mls.records.bare(listing)["ListingKey"]: len(listing.photos) for listing in mls.records.listings()}
    is_photo = ("Photo", "Property Photo", "b__TGlzdGluZyBQaG90bw", None)
    places = {
        key: {row.get("Order") for row in record["Media"] if row.get("MediaCategory") in is_photo}
        for key, record in records.items()
    }
    return [key for key, found in places.items() if len(found) == pictures[key]]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_every_listing_is_read_with_every_photo(vendor: str, tmp_path: Path) -> None:
    async with reading(vendor, tmp_path) as (mls, reader):
        market = {row["ListingKey"] for page in [page async for page in reader.market()] for row in page}
        changed = [changes.records async for changes in reader.changes("ModificationTimestamp", LONG_AGO)]
        changes = {str(record["ListingKey"]): record for page in changed for record in page}
    assert (len(market), len(changes), len(complete(mls, changes))) == (LISTINGS, LISTINGS, LISTINGS)
    assert mls.meter.refused == {}


@pytest.mark.parametrize("vendor", [name for name in VENDORS if name != "mlsgrid"])
async def test_listings_are_read_by_key_with_every_photo(vendor: str, tmp_path: Path) -> None:
    async with reading(vendor, tmp_path) as (mls, reader):
        keys = [str(mls.records.bare(listing)["ListingKey"]) for listing in mls.records.listings()]
        found = await reader.records(keys[:20])
    assert sorted(complete(mls, found.records)) == sorted(keys[:20])
    assert mls.meter.refused == {}
