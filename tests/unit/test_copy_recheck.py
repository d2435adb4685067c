"""Which copies does the sweep of a feed without an MLS make due?"""

from datetime import datetime, timedelta
from typing import Any

from services.scheduler.sweeps import START_DELAY
from shared.domain.image import Photo
from shared.stores.sweeps import SweepRequest
from tests.builders import a_copy, a_downloaded_photo, a_feed, a_listing, a_photo
from tests.sweeping import SweepingScheduler


def a_checked_photo(name: str, days: float, now: datetime, **facts: Any) -> Photo:
    key = facts.pop("key")
    return a_downloaded_photo(name, key=key, copy=a_copy(name, key=key, checked_at=now - timedelta(days=days), **facts))


async def test_copies_not_checked_for_days_are_due_spread_over_the_hours() -> None:
    scheduler = SweepingScheduler(a_feed(recheck_days=7.0, sweep_hours=4.0))
    for number in range(250):
        key = f"X{number}"
        photos = [
            a_checked_photo("stale", 8, scheduler.now, key=key),
            a_checked_photo("fresh", 6, scheduler.now, key=key),
            a_checked_photo("unconditional", 8, scheduler.now, key=key, etag=None),
            a_photo("missing", key=key),
        ]
        await scheduler.listings.write([a_listing(*photos, key=key)])
    await scheduler.later(START_DELAY)
    due = [(await scheduler.listings.get(scheduler.feed.name, f"X{number}")) for number in range(250)]
    photos = [photo for listing in due if listing for photo in listing.photos if photo.forced_at]
    assert [photo.object_id for photo in photos] == ["stale"] * 250
    assert scheduler.count("sweep_rechecked_total") == 250
    start = (await scheduler.sweep()).last_finished_start
    assert start is not None
    ends = start + timedelta(hours=4)
    assert all(scheduler.now <= photo.not_before <= max(ends, scheduler.now) for photo in photos)
    await scheduler.later(timedelta(minutes=1))
    assert scheduler.count("sweep_rechecked_total") == 250


async def test_a_requested_recheck_is_due_at_once_and_a_dry_run_only_counts() -> None:
    scheduler = SweepingScheduler(a_feed(recheck_days=7.0, sweep_hours=4.0))
    await scheduler.listings.write([a_listing(a_checked_photo("a", 8, scheduler.now, key="X1"))])
    await scheduler.sweeps.request(scheduler.feed.name, SweepRequest(at=scheduler.now, dry_run=True))
    await scheduler.sweeper.round()
    assert ((await scheduler.sweep()).counts.compared, (await scheduler.listing("X1")).due_at) == (1, None)
    sweep = await scheduler.swept()
    assert (sweep.counts.published, (await scheduler.listing("X1")).due_at) == (1, scheduler.now)


async def test_without_recheck_days_no_copy_is_due() -> None:
    scheduler = SweepingScheduler(a_feed())
    await scheduler.listings.write([a_listing(a_checked_photo("a", 999, scheduler.now, key="X1"))])
    await scheduler.later(START_DELAY)
    assert (await scheduler.listing("X1")).due_at is None
