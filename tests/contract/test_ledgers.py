"""Both stores of ledgers, in memory and in MongoDB, keep the same contract."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.domain.failures import Reason
from shared.origin_budget import codec
from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import Moment
from shared.stores import mongo
from shared.stores.ledgers import Ledgers
from shared.stores.memory import MemoryLedgers
from tests.servers import Namespace

LEDGER = Ledger(
    as_of=Moment(1_750_000_000_000_000),
    slots={"a-0": Moment(1_750_000_030_000_000)},
    planned=(Moment(1_750_000_000_000_000), Moment(1_750_000_000_000_001)),
    hour_requests=((29_166_666, 7),),
    day_requests=((1_944_444, 40_000),),
    hour_bytes=((29_166_666, 4_000_000_000),),
    batch_requests=3,
    batch_latest=Moment(1_750_000_000_000_001),
    throttled_until=Moment(1_750_000_100_000_000),
    failed_images=("one", "other"),
    failed_reason=Reason.FORBIDDEN,
    breaker=Breaker(Reason.FORBIDDEN, 4.0, Moment(1_750_000_004_000_000), "a-0"),
    reason="10 downloads in a row failed",
)


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def ledgers(request: pytest.FixtureRequest) -> AsyncIterator[Ledgers]:
    if request.param == "memory":
        yield MemoryLedgers()
        return
    namespace: Namespace = request.getfixturevalue("namespace")
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        yield mongo.MongoLedgers(database)
        await database.client.drop_database(namespace.db)


async def test_a_ledger_is_an_empty_document_before_the_first_write(ledgers: Ledgers) -> None:
    stored = await ledgers.get("feed")
    assert (stored.document, stored.revision) == ({}, 0)


async def test_a_written_ledger_is_read_back_equal(ledgers: Ledgers) -> None:
    before = await ledgers.get("feed")
    assert await ledgers.replace("feed", codec.to_document(LEDGER), before.revision)
    stored = await ledgers.get("feed")
    assert codec.from_document(stored.document) == LEDGER
    assert stored.revision == before.revision + 1


async def test_a_write_with_an_old_revision_is_refused_and_changes_nothing(ledgers: Ledgers) -> None:
    old = await ledgers.get("feed")
    assert await ledgers.replace("feed", {"seen": 1}, old.revision)
    assert not await ledgers.replace("feed", {"seen": 2}, old.revision)
    assert (await ledgers.get("feed")).document == {"seen": 1}


async def test_each_feed_has_a_ledger_of_its_own(ledgers: Ledgers) -> None:
    await ledgers.get("one")
    assert await ledgers.replace("one", {"seen": 1}, 0)
    assert (await ledgers.get("other")).document == {}


async def test_of_concurrent_writes_with_one_revision_a_single_write_succeeds(ledgers: Ledgers) -> None:
    revision = (await ledgers.get("feed")).revision
    won = await asyncio.gather(*(ledgers.replace("feed", {"seen": number}, revision) for number in range(10)))
    assert sum(won) == 1
    assert (await ledgers.get("feed")).document == {"seen": won.index(True)}


async def test_concurrent_first_readers_all_get_an_empty_ledger(ledgers: Ledgers) -> None:
    found = await asyncio.gather(*(ledgers.get("feed") for _ in range(10)))
    assert {stored.revision for stored in found} == {0}


async def test_the_stores_time_never_goes_back_between_readings(ledgers: Ledgers) -> None:
    times = [(await ledgers.get("feed")).now for _ in range(10)]
    assert times == sorted(times)
    assert times[0].tzinfo is not None
