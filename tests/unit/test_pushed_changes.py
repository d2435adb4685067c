"""What an MLS pushes is read and published soon; what it no longer has is withdrawn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.reso.odata import MlsFailure
from shared.stores.pushed_keys import PushedKey, Resource
from tests.builders import a_feed
from tests.dialects import Dialect, DialectMls, a_market
from tests.sweeping import SweepingScheduler

FEED = a_feed(reso_url="https://mls.example.com/odata")


@asynccontextmanager
async def recorded(mls: DialectMls) -> AsyncIterator[SweepingScheduler]:
    """Yield a scheduler that has recorded all listings of the MLS."""
    async with SweepingScheduler(FEED, mls) as scheduler:
        await scheduler.swept()
        scheduler.published()
        yield scheduler


async def push(scheduler: SweepingScheduler, *keys: str, resource: Resource = Resource.PROPERTY) -> int:
    """Record pushed keys, run one round, and return how many listings were published."""
    await scheduler.pushed_keys.put(FEED.name, [PushedKey(resource, key) for key in keys], scheduler.now)
    await scheduler.sweeper.round()
    return scheduler.published()


async def left(scheduler: SweepingScheduler) -> int:
    return len(await scheduler.pushed_keys.oldest(FEED.name, 999))


async def displayed(scheduler: SweepingScheduler) -> set[str]:
    return set(await scheduler.listings.displayed_keys(FEED.name, "", 999))


@pytest.mark.parametrize(
    "dialect", [Dialect(), Dialect(in_failure=MlsFailure.BAD_QUERY, max_or=0)], ids=["plain", "one key a request"]
)
async def test_pushed_listings_are_published_and_their_keys_dropped(dialect: Dialect) -> None:
    mls = DialectMls(a_market(10), dialect)
    async with recorded(mls) as scheduler:
        first, second, *_ = sorted(mls.records)
        mls.records[first] |= {"StandardStatus": "Closed", "ModificationTimestamp": "2026-11-22T09:00:00Z"}
        assert await push(scheduler, first, second, first) == 2
        assert await left(scheduler) == 0
        assert first not in await displayed(scheduler)
        assert await push(scheduler) == 0


async def test_the_listing_of_a_pushed_photo_is_published() -> None:
    mls = DialectMls(a_market(3))
    async with recorded(mls) as scheduler:
        listing = next(iter(mls.records.values()))
        media_key = str(listing["Media"][0]["MediaKey"])
        assert await push(scheduler, media_key, "a-photo-that-is-gone", resource=Resource.MEDIA) == 1
        assert await left(scheduler) == 0


async def test_a_pushed_listing_that_the_mls_no_longer_has_is_withdrawn() -> None:
    mls = DialectMls(a_market(10))
    async with recorded(mls) as scheduler:
        gone, *others = sorted(mls.records)
        del mls.records[gone]
        assert await push(scheduler, gone, "never-recorded") == 1
        assert await displayed(scheduler) == set(others)


async def test_an_mls_that_has_no_listing_at_all_hides_nothing() -> None:
    mls = DialectMls(a_market(10))
    async with recorded(mls) as scheduler:
        everything = set(mls.records)
        mls.records.clear()
        assert await push(scheduler, *sorted(everything)[:3]) == 0
        assert await displayed(scheduler) == everything


async def test_pushed_keys_stay_while_the_mls_or_kafka_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    mls = DialectMls(a_market(3))
    async with recorded(mls) as scheduler:
        scheduler.broker.is_unavailable = True
        with pytest.raises(Exception, match="unavailable"):
            await push(scheduler, next(iter(mls.records)))
        assert await left(scheduler) == 1
        scheduler.broker.is_unavailable = False
        assert await push(scheduler) == 1


async def test_keys_of_an_mls_that_filters_by_none_are_dropped() -> None:
    mls = DialectMls(a_market(3), Dialect(filters=frozenset({"StandardStatus", "ModificationTimestamp"})))
    async with recorded(mls) as scheduler:
        scheduler.readers[0].filters_keys = False
        assert await push(scheduler, next(iter(mls.records))) == 0
        assert await left(scheduler) == 0
