"""Both stores, in memory and in MongoDB, of sweeps and of throughputs keep the same contract."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.domain.throughput import Throughput
from shared.stores import mongo
from shared.stores.memory import MemorySweeps, MemoryThroughputs
from shared.stores.sweeps import SweepCounts, SweepRequest, Sweeps, SweepState
from shared.stores.throughputs import Throughputs
from tests.builders import FEED, NOW, after
from tests.servers import Namespace

WHOLE = SweepState(
    feed=FEED, answered_request_at=NOW, last_finished_start=after(1), finished_at=after(2), followed_at=after(3),
    published_until={"ModificationTimestamp": after(4), "MediaChangeTimestamp": after(5)},
    counts=SweepCounts(compared=6, asked_for=5, missing=4, remaining=3, published=2, gone=1),
    error="HTTP 500", failures=2, try_again_at=after(6), compare_again_at=after(7),
)  # fmt: skip


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Sweeps, Throughputs]]:
    if request.param == "memory":
        yield MemorySweeps(), MemoryThroughputs()
        return
    namespace: Namespace = request.getfixturevalue("namespace")
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        yield mongo.MongoSweeps(database), mongo.MongoThroughputs(database)
        await database.client.drop_database(namespace.db)


@pytest.fixture
def sweeps(stores: tuple[Sweeps, Throughputs]) -> Sweeps:
    return stores[0]


async def test_a_sweep_state_is_read_as_it_was_written(sweeps: Sweeps) -> None:
    assert await sweeps.get(FEED) == SweepState(feed=FEED)
    assert await sweeps.write(WHOLE)
    assert await sweeps.get(FEED) == replace(WHOLE, revision=1)
    assert await sweeps.get("other") == SweepState(feed="other")


async def test_a_write_is_refused_if_the_recorded_revision_is_another(sweeps: Sweeps) -> None:
    assert await sweeps.write(WHOLE)
    assert not await sweeps.write(WHOLE)
    assert not await sweeps.write(replace(WHOLE, revision=7))
    assert await sweeps.write(replace(WHOLE, revision=1, error=""))
    assert (await sweeps.get(FEED)).error == ""


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_request_does_not_conflict_with_a_write(sweeps: Sweeps, is_first: bool) -> None:
    if not is_first:
        assert await sweeps.write(WHOLE)
    read, request = await sweeps.get(FEED), SweepRequest(at=after(9), dry_run=True)
    await sweeps.request(FEED, request)
    assert await sweeps.write(replace(read, failures=3)), "a request does not change the revision"
    found = await sweeps.get(FEED)
    assert (found.request, found.open_request, found.failures) == (request, request, 3)
    assert await sweeps.write(replace(found, answered_request_at=request.at))
    assert (await sweeps.get(FEED)).open_request is None
    await sweeps.request(FEED, SweepRequest(at=after(10)))
    assert (await sweeps.get(FEED)).open_request == SweepRequest(at=after(10))


async def test_the_last_throughput_of_each_feed_is_stored(stores: tuple[Sweeps, Throughputs]) -> None:
    _, throughputs = stores
    assert await throughputs.get(FEED) is None
    await throughputs.put(FEED, Throughput(NOW, 1.5))
    await throughputs.put(FEED, Throughput(after(5), 2.5))
    assert (await throughputs.get(FEED), await throughputs.get("other")) == (Throughput(after(5), 2.5), None)
