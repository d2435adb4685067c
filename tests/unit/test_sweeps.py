"""What do a sweep and the rounds between two sweeps publish? Every difference between the MLS and the records."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from local.sandbox import Sandbox
from services.scheduler.change_follower import FOLLOW_EVERY
from services.scheduler.sweeps import START_DELAY
from shared.domain.listing import RemovalReason
from shared.kafka import BrokerUnavailable
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


# What a sweep finds


async def test_a_feed_that_was_never_swept_is_swept_at_once_and_then_the_next_day(scheduler: SweepingScheduler) -> None:
    assert (await scheduler.sweep()).counts.compared == 30
    displayed = await scheduler.listings.displayed_keys("sandbox", "", 99)
    assert [len((await scheduler.listing(key)).photos) for key in displayed] == [PHOTOS] * 30
    await scheduler.later(timedelta(seconds=1))
    assert scheduler.count("sweeps_total", result="done") == 1
    await scheduler.later(DAY)
    assert (scheduler.count("sweeps_total", result="done"), scheduler.published()) == (2, 0)


async def test_a_photo_that_changed_without_an_event_is_published(mls: Sandbox, scheduler: SweepingScheduler) -> None:
    key = keys(mls)[4]
    before = await scheduler.listing(key)
    mls.change_photo(key, 1)
    sweep = await scheduler.swept()
    after = await scheduler.listing(key)
    unchanged = [
        photo.announced_at == other.announced_at for photo, other in zip(before.photos, after.photos, strict=True)
    ]
    assert unchanged == [True, False, True]
    assert (scheduler.published(), sweep.counts.published, sweep.counts.missing) == (1, 1, 0)


async def test_a_listing_that_left_the_market_without_an_event_is_hidden(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    key = keys(mls)[4]
    mls.withdraw(key)
    sweep = await scheduler.swept()
    assert (await scheduler.listing(key)).standard_status == "Expired"
    assert not (await scheduler.listing(key)).is_displayed
    assert (sweep.counts.missing, sweep.counts.gone) == (1, 0)


@pytest.mark.parametrize("leave", ["withdraw", "opt_out"])
async def test_a_listing_that_the_mls_hides_with_an_earlier_timestamp_is_hidden(
    mls: Sandbox, scheduler: SweepingScheduler, leave: str
) -> None:
    """An MLS may write its times in another zone than before."""
    key = keys(mls)[4]
    getattr(mls, leave)(key)
    mls.market.listing(key).modified_at = "2020-01-01T00:00:00.000Z"
    await scheduler.swept()
    assert not (await scheduler.listing(key)).is_displayed


async def test_a_listing_that_the_mls_deleted_is_hidden_and_displayed_again_when_it_comes_back(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    key = keys(mls)[4]
    removed = mls.market.listing(key)
    mls.forget(key)
    sweep = await scheduler.swept()
    hidden = (await scheduler.listing(key)).hidden
    assert hidden is not None
    assert hidden.reason is RemovalReason.LISTING_INACTIVE
    assert (sweep.counts.missing, sweep.counts.gone) == (1, 1)
    mls.market.listings[key] = removed
    await scheduler.swept()
    assert (await scheduler.listing(key)).is_displayed


async def test_an_opted_out_listing_is_hidden_and_not_published_again(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    key = keys(mls)[4]
    mls.opt_out(key)
    await scheduler.swept()
    assert not (await scheduler.listing(key)).is_displayed
    scheduler.published()
    await scheduler.swept()
    assert scheduler.published() == 0


async def test_a_listing_never_recorded_that_may_not_be_shown_is_not_published(mls: Sandbox) -> None:
    mls.withdraw(keys(mls)[4])
    async with SweepingScheduler(feed_of(mls)) as scheduler:
        await scheduler.later(START_DELAY)
        assert scheduler.published() == 29
        await scheduler.later(FOLLOW_EVERY)
        assert scheduler.published() == 0


# Between two sweeps


@pytest.mark.parametrize("media_only", [False, True])
async def test_changes_of_records_and_of_photos_alone_are_followed_between_sweeps(
    mls: Sandbox, scheduler: SweepingScheduler, media_only: bool
) -> None:
    key = keys(mls)[4]
    before = (await scheduler.listing(key)).photos[0].announced_at
    mls.change_photo(key, media_only=media_only)
    await scheduler.later(timedelta(seconds=1))
    assert scheduler.published() == 0
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 1
    assert (await scheduler.listing(key)).photos[0].announced_at != before
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 0


@pytest.mark.parametrize(("minutes", "found"), [(15, 1), (25, 0)])
async def test_a_record_that_the_mls_shows_up_to_twenty_minutes_late_is_followed(
    mls: Sandbox, scheduler: SweepingScheduler, minutes: int, found: int
) -> None:
    mls.touch(keys(mls)[4])
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 1
    reached = (await scheduler.sweep()).published_until["ModificationTimestamp"]
    late = mls.market.listing(keys(mls)[5])
    late.modified_at = (reached - timedelta(minutes=minutes)).isoformat()
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == found


async def test_more_changes_than_fit_on_a_page_are_all_followed(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=130, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls)) as scheduler,
    ):
        await scheduler.swept()
        assert scheduler.published() == 130
        for key in keys(mls):
            mls.touch(key)
        await scheduler.later(FOLLOW_EVERY)
        assert scheduler.published() == 130


async def test_a_change_that_kafka_refused_is_published_by_the_next_scheduler(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    mls.change_photo(keys(mls)[4])
    scheduler.broker.is_unavailable = True
    with pytest.raises(BrokerUnavailable):
        await scheduler.later(FOLLOW_EVERY)
    scheduler.broker.is_unavailable = False
    scheduler.sweeper = scheduler.another("second")
    await scheduler.later(timedelta(seconds=20))
    assert scheduler.published() == 1


async def test_changes_are_followed_after_a_record_with_a_timestamp_in_the_far_future(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    mls.market.listing(keys(mls)[4]).modified_at = "2099-01-01T00:00:00.000Z"
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 0, "the timestamp counts as missing"
    mls.touch(keys(mls)[5])
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 1
