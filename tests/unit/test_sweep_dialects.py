"""Does a sweep hide what an answer lacks? A listing that the MLS shows stays, however the MLS cuts its answers."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.scheduler.change_follower import FOLLOW_EVERY
from shared.reso.odata import MlsFailure
from tests.builders import a_feed
from tests.dialects import Dialect, DialectMls, a_market
from tests.sweeping import SweepingScheduler
from tests.unit.test_dialects import DIALECTS

FEED = a_feed(reso_url="https://mls.example.com/odata", removal_freeze_share=1.0)


@asynccontextmanager
async def recorded(mls: DialectMls) -> AsyncIterator[SweepingScheduler]:
    """Yield a scheduler that has recorded all listings of the MLS while it answered in full."""
    dialect, mls.dialect = mls.dialect, Dialect(has_numeric_keys=mls.dialect.has_numeric_keys)
    async with SweepingScheduler(FEED, mls) as scheduler:
        await scheduler.swept()
        assert scheduler.published() == len(mls.records)
        mls.dialect, scheduler.sweeper = dialect, scheduler.another("first")
        yield scheduler


async def displayed(scheduler: SweepingScheduler) -> Sequence[str]:
    return await scheduler.listings.displayed_keys(FEED.name, "", 999)


GRID = frozenset({"StandardStatus", "ModificationTimestamp", "MlgCanView", "ListingId"})
KEYLESS = {
    "links": Dialect(filters=GRID, sorts=False, max_or=5, has_links=True, max_top=25),
    "cut": Dialect(filters=GRID, sorts=False, max_or=5, max_top=25),
    "no or": Dialect(filters=GRID, sorts=False, max_or=0, max_top=25, in_failure=MlsFailure.BAD_QUERY),
}


@pytest.mark.parametrize("name", KEYLESS)
async def test_an_mls_that_filters_by_no_key_is_swept_by_its_timestamps(name: str) -> None:
    mls = DialectMls(a_market(60), KEYLESS[name])
    async with recorded(mls) as scheduler:
        everything = sorted(mls.records)
        sold, changed, hidden, deleted = everything[3], everything[20], everything[30], everything[40]
        mls.records[sold] |= {"StandardStatus": "Closed"}
        mls.records[changed] |= {"ModificationTimestamp": "2026-11-22T09:00:00.000Z", "PhotosCount": 1}
        mls.records[changed]["Media"] = mls.records[changed]["Media"][:1]
        mls.records[hidden] |= {"ModificationTimestamp": "2026-11-22T09:00:00.000Z", "MlgCanView": False}
        del mls.records[deleted]
        sweep = await scheduler.swept()
        assert (sweep.error, sweep.counts.gone, sweep.counts.remaining) == ("", 1, 0)
        assert await displayed(scheduler) == [key for key in everything if key not in (sold, hidden, deleted)]
        assert len((await scheduler.listing(changed)).photos) == 1


@pytest.mark.parametrize("name", KEYLESS)
async def test_a_feed_that_filters_by_no_key_is_recorded_from_nothing(name: str) -> None:
    mls = DialectMls(a_market(60, photos=3), KEYLESS[name])
    async with SweepingScheduler(FEED, mls) as scheduler:
        sweep = await scheduler.swept()
        assert (sweep.error, len(await displayed(scheduler))) == ("", 60)
        assert {len((await scheduler.listing(key)).photos) for key in mls.records} == {3}


async def test_nothing_is_gone_if_the_mls_shows_no_witness_at_its_own_second() -> None:
    class Forgets(DialectMls):
        def _page(self, resource: str, options: Mapping[str, str]) -> Any:
            found = super()._page(resource, options)
            if " lt " in options["$filter"]:
                found.rows.clear()
            return found

    mls = Forgets(a_market(60), KEYLESS["links"])
    async with recorded(mls) as scheduler:
        del mls.records["X0007"]
        sweep = await scheduler.swept()
        assert "no usable answer for 1 listings" in sweep.error
        assert len(await displayed(scheduler)) == 60


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_sweep_hides_what_is_gone_and_nothing_else_in_any_dialect(name: str) -> None:
    mls = DialectMls(a_market(60, numeric=DIALECTS[name].has_numeric_keys), DIALECTS[name])
    async with recorded(mls) as scheduler:
        everything = sorted(mls.records)
        sold, deleted = everything[3], everything[40]
        mls.records[sold] |= {"StandardStatus": "Closed"}
        del mls.records[deleted]
        sweep = await scheduler.swept()
        assert (sweep.error, sweep.counts.gone) == ("", 1)
        assert await displayed(scheduler) == [key for key in everything if key not in (sold, deleted)]


@pytest.mark.parametrize("name", ["cut at 25", "expanded rows cut", "no in, no or", "numbers"])
async def test_photos_that_an_answer_lacks_are_not_withdrawn(name: str) -> None:
    mls = DialectMls(a_market(30, photos=3, numeric=DIALECTS[name].has_numeric_keys), DIALECTS[name])
    async with recorded(mls) as scheduler:
        for record in mls.records.values():
            record["ModificationTimestamp"] = "2026-11-21T09:00:00.000Z"
        await scheduler.swept()
        assert scheduler.published() == 30
        for key in mls.records:
            assert len((await scheduler.listing(key)).photos) == 3


async def test_the_mls_errs_if_it_counts_photos_and_sends_none() -> None:
    mls = DialectMls(a_market(9))
    async with recorded(mls) as scheduler:
        for record in mls.records.values():
            record |= {"ModificationTimestamp": "2026-11-21T09:00:00.000Z", "PhotosCount": "2", "Media": []}
        await scheduler.swept()
        assert {len((await scheduler.listing(key)).photos) for key in mls.records} == {2}


class Broken(DialectMls):
    """An MLS that answers every query by ListingKey with no rows, or with rows of others if `answers_others`."""

    answers_others = False

    def _page(self, resource: str, options: Mapping[str, str]) -> Any:
        found = super()._page(resource, options)
        if options["$filter"].startswith("ListingKey"):
            found.rows[:] = [{"ListingKey": "other"}] if self.answers_others else []
        return found


@pytest.mark.parametrize("answers_others", [True, False])
async def test_a_sweep_without_usable_answers_says_so_and_hides_nothing(answers_others: bool) -> None:
    mls = Broken(a_market(60), Dialect(max_top=25, ignores_skip=True, filters=None))
    mls.answers_others = answers_others
    del_key = "X0007"
    dialect = mls.dialect
    async with SweepingScheduler(FEED, DialectMls(mls.records)) as scheduler:
        await scheduler.swept()
        mls.dialect, scheduler.mls = dialect, mls
        scheduler.sweeper = scheduler.another("first")
        del mls.records[del_key]
        sweep = await scheduler.swept()
        assert "no usable answer for 1 listings" in sweep.error
        assert len(await displayed(scheduler)) == 60
        assert scheduler.count("sweep_errors_total", kind="incomplete") == 1


async def test_a_listing_that_may_not_be_viewed_any_more_is_hidden_by_changes_and_by_sweeps() -> None:
    mls = DialectMls(a_market(9))
    for record in mls.records.values():
        record["MlgCanView"] = True
    async with recorded(mls) as scheduler:
        await scheduler.later(FOLLOW_EVERY)
        mls.records["X0004"] |= {"MlgCanView": False, "ModificationTimestamp": "2026-11-28T09:00:00.000Z"}
        await scheduler.later(FOLLOW_EVERY)
        assert not (await scheduler.listing("X0004")).is_displayed
        mls.records["X0005"]["MlgCanView"] = False
        await scheduler.swept()
        assert not (await scheduler.listing("X0005")).is_displayed


async def test_a_feed_that_was_away_for_a_week_is_compared_in_full_before_changes_are_followed() -> None:
    mls = DialectMls(a_market(9))
    async with recorded(mls) as scheduler:
        await scheduler.later(FOLLOW_EVERY)
        del mls.records["X0004"]  # deleted, and forgotten by the MLS meanwhile
        scheduler.now += timedelta(days=8)
        scheduler.sweeper = scheduler.another("first")
        await scheduler.later(timedelta(seconds=31))
        assert not (await scheduler.listing("X0004")).is_displayed


async def test_numbers_as_keys_are_followed() -> None:
    mls = DialectMls(a_market(9, numeric=True), Dialect(has_numeric_keys=True))
    async with recorded(mls) as scheduler:
        await scheduler.later(FOLLOW_EVERY)
        scheduler.published()
        mls.records["1004"]["ModificationTimestamp"] = "2026-11-28T09:00:00.000Z"
        await scheduler.later(FOLLOW_EVERY)
        assert scheduler.published() == 1
