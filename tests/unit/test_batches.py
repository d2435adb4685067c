"""Keys that several callers want are read once, in batches of a good size, at most two at a time."""

import asyncio
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from services.resolver import batches
from services.resolver.batches import Batch, BatchedReader, Overloaded
from shared.stores.errors import StoreUnavailable
from tests.caching import Source, settle


@dataclass
class Setup:
    """A reader of a source, with `get` as its callers use it."""

    source: Source
    reader: BatchedReader[str, str]

    async def get(self, *keys: str) -> list[str]:
        values: dict[str, str] = {}
        for batch in self.reader.request_all(keys, len(keys)):
            values |= await batch.result()
        return [values[key] for key in keys]

    async def begin(self, *keys: str) -> asyncio.Task[list[str]]:
        """Start a caller that requests the keys; return its task once it waits for them."""
        caller = asyncio.create_task(self.get(*keys))
        await settle()
        return caller


@pytest.fixture
def setup() -> Setup:
    """A reader whose source answers at once."""
    source = Source()
    source.open.set()

    async def read(batch: Batch[str, str]) -> Mapping[str, str]:
        return await source.load(batch.keys)

    return Setup(source, BatchedReader(read, lambda key: str(key).startswith("new")))


async def test_callers_that_come_at_the_same_time_share_one_batch(setup: Setup) -> None:
    answers = await asyncio.gather(*(setup.get(key) for key in "abcabc"), setup.get("a", "d"))
    assert setup.source.queries == [{"a", "b", "c", "d"}]
    assert answers[0] == answers[3] == ["a1"]


async def test_a_caller_that_comes_during_a_reading_of_its_key_joins_it(setup: Setup) -> None:
    setup.source.open.clear()
    first, second = await setup.begin("a"), await setup.begin("a")
    setup.source.open.set()
    assert await first == await second == ["a1"]
    assert len(setup.source.queries) == 1


@pytest.mark.parametrize("everything", [False, True])
async def test_a_caller_does_not_join_a_reading_whose_values_may_be_outdated(setup: Setup, everything: bool) -> None:
    setup.source.open.clear()
    before = await setup.begin("a")
    if everything:
        setup.reader.invalidate_all()
    else:
        setup.reader.invalidate({"any tag"})
    after = await setup.begin("a")
    setup.source.open.set()
    assert (await before, await after) == (["a1"], ["a2"])


async def test_a_cancelled_caller_does_not_cancel_the_reading(setup: Setup) -> None:
    setup.source.open.clear()
    leaving, staying = await setup.begin("a"), await setup.begin("a")
    leaving.cancel()
    setup.source.open.set()
    assert await staying == ["a1"]


async def test_each_caller_gets_an_error_with_a_traceback_of_its_own(setup: Setup) -> None:
    setup.source.open.clear()
    callers = [asyncio.create_task(setup.reader.request("a").result()) for _ in range(50)]
    await settle()
    setup.source.error = ValueError("broken")
    setup.source.open.set()
    lengths = set()
    for caller in callers:
        try:
            await caller
        except ValueError as error:
            lengths.add(len(traceback.extract_tb(error.__traceback__)))
    assert len(lengths) == 1, "no caller's traceback holds another's frames"


async def test_an_unavailable_database_ends_the_queued_batches_too(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_CONCURRENCY", 1)
    setup.source.open.clear()
    callers = [await setup.begin("a"), await setup.begin("b"), await setup.begin(*map(str, range(200)))]
    setup.source.error = StoreUnavailable("away")
    setup.source.open.set()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(end) for end in ended} == {StoreUnavailable}
    assert setup.source.queries == [{"a"}]
    assert setup.reader.is_idle


async def test_more_keys_than_may_be_pending_are_refused_and_pending_ones_joined(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_PENDING_KEYS", 2)
    setup.source.open.clear()
    pending = await setup.begin("a", "b")
    with pytest.raises(Overloaded):
        await setup.get("c")
    joined = await setup.begin("b")
    setup.source.open.set()
    assert (await pending, await joined) == (["a1", "b1"], ["b1"])
    assert await setup.get("c") == ["c2"]


async def test_a_small_batch_lingers_for_more_keys_while_another_is_read(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_LINGER_SECONDS", 1.0)
    setup.source.open.clear()
    callers = [await setup.begin("a")]
    callers += [asyncio.create_task(setup.get(key)) for key in ("b", "c")]
    await settle()
    assert setup.source.queries == [{"a"}]
    async with asyncio.timeout(20):
        while len(setup.source.queries) < 2:  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.001)
    assert setup.source.queries == [{"a"}, {"b", "c"}]
    setup.source.open.set()
    await asyncio.gather(*callers)


async def test_a_batch_with_enough_keys_is_read_at_once_beside_another(setup: Setup) -> None:
    setup.source.open.clear()
    keys = [f"k{number}" for number in range(50)]
    callers = [await setup.begin("a"), await setup.begin(*keys)]
    assert setup.source.queries == [{"a"}, set(keys)]
    setup.source.open.set()
    await asyncio.gather(*callers)


async def test_keys_requested_one_by_one_during_a_reading_are_read_in_two_equal_batches(setup: Setup) -> None:
    setup.source.open.clear()
    callers = [await setup.begin("a"), *(asyncio.create_task(setup.get(f"k{number}")) for number in range(31))]
    await settle()
    setup.source.open.set()
    await asyncio.gather(*callers)
    assert [len(keys) for keys in setup.source.queries] == [1, 16, 15]


async def test_keys_requested_together_are_read_in_one_batch_whatever_else_is_queued(setup: Setup) -> None:
    setup.source.open.clear()
    pages = [[f"{page}{number}" for number in range(size)] for page, size in enumerate((1, 30, 50, 30, 50))]
    callers = [await setup.begin(*page) for page in pages]
    setup.source.open.set()
    await asyncio.gather(*callers)
    assert setup.source.queries == [set(page) for page in pages]


# New keys of requests for several keys


async def test_keys_that_were_found_before_are_read_ahead_of_new_ones(setup: Setup) -> None:
    setup.source.open.clear()
    first = [await setup.begin(*(f"{letter}{number}" for number in range(20))) for letter in "ab"]  # both run at once
    floods = [await setup.begin(*(f"new-{flood}-{number}" for number in range(200))) for flood in range(5)]
    visitors = [await setup.begin(*(f"k{visitor}-{number}" for number in range(200))) for visitor in range(5)]
    setup.source.open.set()
    await asyncio.gather(*first, *floods, *visitors)
    kinds = ["new" if any(key.startswith("new") for key in query) else "found" for query in setup.source.queries[2:]]
    assert kinds[:8] == ["found", "found", "found", "new", "found", "found", "new", "new"], kinds


async def test_new_keys_leave_room_for_others_and_a_single_one_is_no_flood(
    monkeypatch: pytest.MonkeyPatch, setup: Setup
) -> None:
    monkeypatch.setattr(batches, "MAX_PENDING_NEW_KEYS", 200)
    setup.source.open.clear()
    flood = await setup.begin(*(f"new{number}" for number in range(200)))
    with pytest.raises(Overloaded):
        await setup.get("new-a", "new-b")
    others = [await setup.begin("new-a"), await setup.begin("a", "b")]
    setup.source.open.set()
    assert len(await flood) == 200
    assert [len(await other) for other in others] == [1, 2]
    assert len(await setup.get("new-a", "new-c")) == 2, "there is room again"
