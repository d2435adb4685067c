"""Which scheduler sweeps, when does a sweep start, and how are its requests spread?"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from local.sandbox import Sandbox
from services.scheduler import schedule
from services.scheduler.sweeps import START_DELAY
from shared.domain.reso_access import ResoAccess, Vendor
from shared.lease import Lease
from shared.stores.memory import MemoryLeases
from shared.stores.sweeps import SweepRequest
from tests.sweeping import PHOTOS, SweepingScheduler, a_recorded_market, feed_of, keys

DAY = timedelta(days=1)


@pytest.fixture
async def mls(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=30, photos=PHOTOS, widest=320, cache=tmp_path) as running:
        yield running


@pytest.fixture
async def scheduler(mls: Sandbox) -> AsyncIterator[SweepingScheduler]:
    """A scheduler that has recorded all 30 listings of the MLS."""
    async with a_recorded_market(mls) as started:
        yield started


async def test_only_the_scheduler_with_the_lease_sweeps(mls: Sandbox, scheduler: SweepingScheduler) -> None:
    other = scheduler.another("second")
    await scheduler.later(timedelta(seconds=1))
    mls.change_photo(keys(mls)[4])
    await scheduler.sweeps.request(scheduler.feed.name, SweepRequest(at=scheduler.now))
    await other.round()
    assert scheduler.published() == 0
    await scheduler.sweeper.round()
    assert scheduler.published() == 1


async def test_the_time_of_success_begins_with_the_start_and_is_shown_only_with_the_lease(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    shown = "listing_images_sweep_success_timestamp_seconds", {"feed": "sandbox"}
    mls.misbehave(on="odata", kind="status", status=503)
    async with SweepingScheduler(feed_of(mls)) as other:
        began = other.now
        for _ in range(3):
            await other.later(DAY)
        assert other.registry.get_sample_value(*shown) == (began + START_DELAY).timestamp()
        other.leases = MemoryLeases()
        assert await Lease(other.leases, "scheduler", "second", other.clock).is_held()
        other.sweeper = other.another("first")
        await other.later(timedelta(seconds=1))
        assert other.registry.get_sample_value(*shown) is None


async def test_a_missed_sweep_starts_half_a_minute_after_the_scheduler(mls: Sandbox) -> None:
    async with SweepingScheduler(feed_of(mls)) as scheduler:
        await scheduler.later(START_DELAY / 2)
        assert scheduler.published() == 0
        await scheduler.later(START_DELAY / 2)
        assert scheduler.published() == 30


@pytest.mark.parametrize(("day", "hours"), [(30, 9), (31, 10)], ids=["any-day", "clocks-go-back"])
async def test_the_daily_sweep_starts_at_its_local_time_whenever_the_last_one_ended(
    mls: Sandbox, day: int, hours: int
) -> None:
    async with SweepingScheduler(feed_of(mls)) as scheduler:
        scheduler.now = datetime(2026, 10, day, 20, 0, tzinfo=UTC)
        scheduler.sweeper = scheduler.another("first")
        await scheduler.later(START_DELAY)
        for _ in range(hours):
            await scheduler.later(timedelta(hours=1))
        await scheduler.later(timedelta(minutes=59, seconds=29))
        toronto = scheduler.now.astimezone(ZoneInfo("America/Toronto"))
        assert (f"{toronto:%H:%M:%S}", scheduler.count("sweeps_total", result="done")) == ("01:59:59", 1)
        await scheduler.later(timedelta(seconds=1))
        assert scheduler.count("sweeps_total", result="done") == 2


async def test_the_requests_of_a_sweep_are_spread_over_its_hours(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls, sweep_hours=0.005)) as scheduler,
    ):
        await scheduler.later(START_DELAY)
        assert scheduler.published() == 50
        await scheduler.later(timedelta(seconds=5))
        assert scheduler.published() == 0
        await scheduler.later(timedelta(seconds=2))
        assert scheduler.published() == 50
        await scheduler.later(timedelta(seconds=7))
        assert scheduler.published() == 20
        assert (await scheduler.sweep()).last_finished_start is not None


async def test_groups_are_in_the_order_of_their_listings_slots_at_most_ten_seconds_apart(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls)) as scheduler,
    ):
        await scheduler.later(START_DELAY)
        order = sorted(keys(mls), key=lambda key: schedule.slot(scheduler.feed, key, scheduler.now))
        for group in (order[:50], order[50:100], order[100:]):
            assert {record.key for record in scheduler.broker.published} == {key.encode() for key in group}
            scheduler.published()
            await scheduler.later(timedelta(seconds=9))
            assert scheduler.published() == 0
            await scheduler.later(timedelta(seconds=1))


async def test_an_interrupted_sweep_asks_only_for_the_listings_that_still_differ(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls)) as scheduler,
    ):
        await scheduler.later(START_DELAY)
        assert scheduler.published() == 50
        scheduler.sweeper = scheduler.another("second")
        await scheduler.later(START_DELAY)
        await scheduler.later(timedelta(seconds=10))
        assert scheduler.published() == 70


async def test_a_dry_run_only_counts(mls: Sandbox, scheduler: SweepingScheduler) -> None:
    mls.change_photo(keys(mls)[4])
    mls.withdraw(keys(mls)[5])
    before = await scheduler.sweep()
    await scheduler.sweeps.request(scheduler.feed.name, SweepRequest(at=scheduler.now, dry_run=True))
    await scheduler.later(timedelta(seconds=1))
    after = await scheduler.sweep()
    assert (after.open_request, after.counts.asked_for, after.counts.missing, after.counts.published) == (None, 2, 1, 0)
    assert (after.last_finished_start, after.published_until, scheduler.published()) == (
        before.last_finished_start,
        before.published_until,
        0,
    )


@pytest.mark.parametrize(("vendor", "days", "is_at_once"), [
    (Vendor.MLSGRID, 8, True), (Vendor.MLSGRID, 6, False), (Vendor.GENERIC, 8, False),
])  # fmt: skip
async def test_a_scheduler_that_was_away_longer_than_deletions_are_told_compares_the_whole_market_at_once(
    tmp_path: Path, vendor: Vendor, days: int, is_at_once: bool
) -> None:
    async with Sandbox(listings=60, photos=1, widest=320, cache=tmp_path) as mls:
        feed = replace(feed_of(mls), reso=ResoAccess(profile=vendor))
        async with SweepingScheduler(feed) as scheduler:
            await scheduler.swept()
            for key in keys(mls):
                mls.change_photo(key)
            await scheduler.later(timedelta(days=days))
            assert ((await scheduler.sweep()).finished_at == scheduler.now) is is_at_once
