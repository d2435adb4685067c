"""Both stores of budgets keep the same promises."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.downloader import budget
from services.downloader.budget import Breaker, Ledger
from shared.domain.failures import Reason
from shared.stores import mongo
from shared.stores.budgets import Budgets, MemoryBudgets
from tests.servers import Room

LEDGER = Ledger(
    seen=1_750_000_000_000_000,
    slots={"a-0": 1_750_000_030_000_000},
    sends=(1_750_000_000_000_000, 1_750_000_000_000_001),
    hour=((29_166_666, 7),),
    day=((1_944_444, 40_000),),
    received=((29_166_666, 4_000_000_000),),
    batch=3,
    batch_last=1_750_000_000_000_001,
    frozen_until=1_750_000_100_000_000,
    run_images=("one", "other"),
    run_of=Reason.FORBIDDEN,
    breaker=Breaker(Reason.FORBIDDEN, 4.0, 1_750_000_004_000_000, "a-0"),
    reason="10 downloads in a row failed",
)


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def budgets(request: pytest.FixtureRequest) -> AsyncIterator[Budgets]:
    if request.param == "memory":
        yield MemoryBudgets()
        return
    room: Room = request.getfixturevalue("room")
    async with mongo.connect(room.servers.mongo, room.db) as database:
        yield mongo.MongoBudgets(database)
        await database.client.drop_database(room.db)


async def test_a_feed_without_a_ledger_has_an_empty_one(budgets: Budgets) -> None:
    stored = await budgets.get("feed")
    assert (stored.document, stored.revision) == ({}, 0)


async def test_a_ledger_that_was_written_is_read_back_as_it_was(budgets: Budgets) -> None:
    before = await budgets.get("feed")
    assert await budgets.replace("feed", budget.to_document(LEDGER), before.revision)
    stored = await budgets.get("feed")
    assert budget.from_document(stored.document) == LEDGER
    assert stored.revision == before.revision + 1


async def test_a_write_by_an_old_revision_is_refused_and_changes_nothing(budgets: Budgets) -> None:
    old = await budgets.get("feed")
    assert await budgets.replace("feed", {"seen": 1}, old.revision)
    assert not await budgets.replace("feed", {"seen": 2}, old.revision)
    assert (await budgets.get("feed")).document == {"seen": 1}


async def test_feeds_do_not_touch_each_other(budgets: Budgets) -> None:
    await budgets.get("one")
    assert await budgets.replace("one", {"seen": 1}, 0)
    assert (await budgets.get("other")).document == {}


async def test_of_writes_at_once_by_one_revision_a_single_one_wins(budgets: Budgets) -> None:
    revision = (await budgets.get("feed")).revision
    won = await asyncio.gather(*(budgets.replace("feed", {"seen": number}, revision) for number in range(10)))
    assert sum(won) == 1
    assert (await budgets.get("feed")).document == {"seen": won.index(True)}


async def test_first_readers_at_once_all_get_the_same_empty_ledger(budgets: Budgets) -> None:
    found = await asyncio.gather(*(budgets.get("feed") for _ in range(10)))
    assert {one.revision for one in found} == {0}


async def test_the_stores_time_never_goes_back_between_readings(budgets: Budgets) -> None:
    times = [(await budgets.get("feed")).now for _ in range(10)]
    assert times == sorted(times)
    assert times[0].tzinfo is not None
