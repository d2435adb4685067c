"""Is a day of changes at each vendor's MLS recorded in full, within its quotas? By emulators, with stores in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from local.sandbox import Sandbox, naming
from services.scheduler.change_follower import FOLLOW_EVERY
from services.scheduler.sweeps import START_DELAY
from shared.reso.feed_reader import FeedReader
from tests.sweeping import SweepingScheduler
from tests.unit.test_vendor_reading import VENDORS, Fast
from tests.vendor_feeds import client_of, feed_of

pytestmark = pytest.mark.slow

LISTINGS, PHOTOS = 12, 3


class VendorScheduler(SweepingScheduler):
    """A scheduler that sweeps a running emulator as `imagectl connect` would have it."""

    def __init__(self, emulator: Sandbox) -> None:
        self.emulator = emulator
        super().__init__(feed_of(emulator))

    def _reader_over_http(self) -> FeedReader:
        return FeedReader(self.feed, client_of(self.emulator, self.feed))

    def shown(self) -> dict[str, int]:
        """Return how many photos each listing has that the MLS shows, by the vendor's ListingKey."""
        return {
            str(self.emulator.records.bare(listing)["ListingKey"]): len(listing.photos)
            for listing in self.emulator.market.listings.values()
            if naming.is_on_market(listing)
        }

    async def recorded(self) -> dict[str, int]:
        """Return how many photos each displayed listing has that is recorded."""
        keys = await self.listings.displayed_keys(self.feed.name, "", 999)
        return {key: len((await self.listing(key)).photos) for key in keys}


@asynccontextmanager
async def a_recorded_vendor(vendor: str, cache: Path) -> AsyncIterator[tuple[Sandbox, VendorScheduler]]:
    mls = Sandbox(listings=LISTINGS, photos=PHOTOS, widest=160, cache=cache, vendor=vendor, clock=Fast())
    async with mls, VendorScheduler(mls) as scheduler:
        await scheduler.later(START_DELAY)
        yield mls, scheduler


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_day_of_changes_is_recorded_in_full(vendor: str, tmp_path: Path) -> None:
    async with a_recorded_vendor(vendor, tmp_path) as (mls, scheduler):
        assert await scheduler.recorded() == scheduler.shown()
        keys = list(mls.market.listings)
        for hour in range(4):
            mls.withdraw_photo(keys[hour])
            mls.reorder(keys[hour + 1])
            mls.rename(keys[hour + 2], f"Hour {hour}")
            mls.withdraw(keys[hour + 5])
            mls.touch(keys[hour + 6])
            mls.reactivate(keys[hour + 4])
            mls.expire_tokens()
            await scheduler.later(FOLLOW_EVERY)
            await scheduler.swept()
            assert await scheduler.recorded() == scheduler.shown(), f"hour {hour}"
        mls.forget(keys[11])
        await scheduler.swept()
        assert await scheduler.recorded() == scheduler.shown()
        assert mls.meter.refused == {}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_new_picture_is_due_between_two_sweeps(vendor: str, tmp_path: Path) -> None:
    async with a_recorded_vendor(vendor, tmp_path) as (mls, scheduler):
        listing = mls.market.listing("C12000001")
        key = str(mls.records.bare(listing)["ListingKey"])
        before = (await scheduler.listing(key)).photos
        mls.change_photo(listing.key, 1)
        await scheduler.later(FOLLOW_EVERY)
        after = (await scheduler.listing(key)).photos
    moved = [photo.announced_at != other.announced_at for photo, other in zip(before, after, strict=True)]
    assert (len(after), moved[1]) == (PHOTOS, True)
