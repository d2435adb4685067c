"""The read-through cache: how long entries answer, what invalidates them, and how it answers during an outage."""

import asyncio
import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pytest

from services.resolver import batches, cache
from services.resolver.batches import Overloaded
from services.resolver.cache import ReadThroughCache
from services.resolver.cache_metrics import CacheCounts
from services.resolver.policy import (
    LOAD_TIMEOUT_SECONDS,
    STALE_IF_ERROR_SECONDS,
    TTL_SECONDS,
    TTL_WITHOUT_EVENTS_SECONDS,
    CachePolicy,
)
from shared.stores.errors import StoreUnavailable
from tests.caching import Source, settle


class Clock:
    """A clock that the test moves; seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Setup:
    """A cache with all that it is made of."""

    source: Source
    clock: Clock
    policy: CachePolicy
    counts: CacheCounts
    cache: ReadThroughCache[str, str]

    async def get(self, *keys: str) -> list[str]:
        found = await self.cache.get(keys)
        return [found[key] for key in keys]

    async def begin(self, *keys: str) -> asyncio.Task[list[str]]:
        """Start a caller that requests the keys; return its task once it waits for them."""
        caller = asyncio.create_task(self.get(*keys))
        await settle()
        return caller


@pytest.fixture
def setup() -> Setup:
    """A cache of at most a hundred values of ten bytes each; a value's tag is its key's first letter in upper case."""
    source, clock, counts = Source(), Clock(), CacheCounts("x")
    source.open.set()
    policy = CachePolicy(clock)
    policy.ttl_seconds = TTL_SECONDS
    values = ReadThroughCache[str, str](
        source.load, lambda key, _: (key[0].upper(),), lambda *_: 10, 1_000, policy, counts, lambda key: key
    )
    return Setup(source, clock, policy, counts, values)


def a_cache_of(source: Source, size: int = 10, policy: CachePolicy | None = None) -> ReadThroughCache[str, str]:
    """Return a cache of 1,000 bytes, of values that take `size` bytes each and have no tags."""
    return ReadThroughCache(
        source.load,
        lambda *_: (),
        lambda *_: size,
        1_000,
        policy or CachePolicy(Clock()),
        CacheCounts("y"),
        lambda key: key,
    )


# How long entries answer


def test_until_events_arrive_the_shorter_ttl_applies() -> None:
    assert CachePolicy(Clock()).ttl_seconds == TTL_WITHOUT_EVENTS_SECONDS


def test_no_ttl_or_timeout_lets_an_answer_be_older_than_the_contract_allows() -> None:
    assert max(LOAD_TIMEOUT_SECONDS, TTL_SECONDS, TTL_WITHOUT_EVENTS_SECONDS) <= 2.0


async def test_an_entry_is_fresh_for_its_ttl_and_no_longer(setup: Setup) -> None:
    assert await setup.get("a") == ["a1"]
    setup.clock.now += TTL_SECONDS - 0.001
    assert await setup.get("a") == ["a1"]
    setup.clock.now += 0.001
    assert await setup.get("a") == ["a2"]


async def test_the_ttl_begins_when_the_load_begins(setup: Setup) -> None:
    setup.source.open.clear()
    caller = await setup.begin("a")
    setup.clock.now += TTL_SECONDS
    setup.source.open.set()
    assert await caller == ["a1"]
    assert await setup.get("a") == ["a2"]


async def test_the_ttl_of_the_policy_applies_to_what_is_loaded_from_then_on(setup: Setup) -> None:
    setup.policy.ttl_seconds = 0.5
    await setup.get("a")
    setup.clock.now += 0.5
    assert await setup.get("a") == ["a2"]


# What is invalidated


@pytest.mark.parametrize("remove", [False, True])
async def test_an_invalidated_entry_is_loaded_again(setup: Setup, remove: bool) -> None:
    await setup.get("a", "b")
    setup.cache.invalidate("A", remove=remove)
    assert await setup.get("a", "b") == ["a2", "b1"]
    setup.cache.invalidate_all()
    assert await setup.get("a", "b") == ["a3", "b3"]


@pytest.mark.parametrize("everything", [False, True])
async def test_a_value_invalidated_during_its_load_is_not_kept_and_not_given_to_later_callers(
    setup: Setup, everything: bool
) -> None:
    setup.source.open.clear()
    before = await setup.begin("a")
    if everything:
        setup.cache.invalidate_all()
    else:
        setup.cache.invalidate("A", remove=False)
    after = await setup.begin("a")
    setup.source.open.set()
    assert (await before, await after) == (["a1"], ["a2"])
    assert await setup.get("a") == ["a2"]


async def test_a_value_is_loaded_again_if_everything_was_invalidated_during_its_load(setup: Setup) -> None:
    setup.source.open.clear()
    caller = await setup.begin("a")
    setup.cache.invalidate_all()
    setup.source.open.set()
    assert await caller == ["a1"]
    assert await setup.get("a") == ["a2"]


async def test_an_older_load_that_ends_late_does_not_replace_what_a_newer_one_brought(setup: Setup) -> None:
    older = setup.source.open = asyncio.Event()
    first = await setup.begin("a", "b")
    setup.cache.invalidate("B", remove=False)
    newer = setup.source.open = asyncio.Event()
    setup.clock.now += 0.5
    second = await setup.begin("a")
    newer.set()
    assert await second == ["a2"]
    older.set()
    assert await first == ["a1", "b1"]
    assert await setup.get("a") == ["a2"], "kept from the newer load"


async def test_an_outdated_load_that_ends_leaves_its_successor_to_be_joined(setup: Setup) -> None:
    older = setup.source.open = asyncio.Event()
    first = await setup.begin("a")
    setup.cache.invalidate("A", remove=False)
    newer = setup.source.open = asyncio.Event()
    second = await setup.begin("a")
    older.set()
    assert await first == ["a1"]
    joined = await setup.begin("a")
    newer.set()
    assert [await second, await joined] == [["a2"], ["a2"]]
    assert len(setup.source.queries) == 2


# Memory


async def test_entries_keep_to_the_limit_of_bytes_and_the_oldest_go_first(setup: Setup) -> None:
    for number in range(1_000):
        await setup.get(f"k{number}")
        assert setup.counts.bytes <= 1_000
    assert setup.counts.bytes == 1_000
    loads = len(setup.source.queries)
    await setup.get(*(f"k{number}" for number in range(900, 1_000)))
    assert len(setup.source.queries) == loads
    await setup.get("k899")
    assert len(setup.source.queries) == loads + 1


async def test_a_value_larger_than_the_cache_is_returned_and_not_kept() -> None:
    source = Source()
    source.open.set()
    values = a_cache_of(source, size=2_000)
    assert await values.get(["a"]) == {"a": "a1"}
    assert values.last("a") is None


async def test_entries_too_old_even_for_an_outage_are_evicted(setup: Setup) -> None:
    await setup.get(*(f"k{number}" for number in range(50)))
    setup.clock.now += STALE_IF_ERROR_SECONDS
    await setup.get("a")
    assert setup.counts.bytes == 10


async def test_a_value_that_is_not_kept_is_referenced_by_nothing() -> None:
    class Big:
        """A value whose end can be observed."""

    async def load(keys: Collection[str]) -> Mapping[str, Big]:
        return {key: Big() for key in keys}

    values = ReadThroughCache[str, Big](
        load, lambda *_: (), lambda *_: 10, 1_000, CachePolicy(Clock()), CacheCounts("x"), lambda key: key
    )
    gone = weakref.ref(await values.get_one("a"))
    values.invalidate_all()
    await values.get_one("a")
    await asyncio.sleep(0.1)  # a timer refers to a batch for some milliseconds
    assert gone() is None


# Outages


async def test_while_the_database_is_unavailable_entries_answer_for_half_a_minute(setup: Setup) -> None:
    await setup.get("a")
    setup.source.error = StoreUnavailable("away")
    setup.clock.now += 5
    assert await setup.get("a") == ["a1"]
    assert setup.policy.is_database_unavailable
    with pytest.raises(StoreUnavailable):
        await setup.get("a", "b")
    setup.clock.now += STALE_IF_ERROR_SECONDS - 5.001
    assert await setup.get("a") == ["a1"]
    await settle()
    setup.clock.now += 0.001
    with pytest.raises(StoreUnavailable):
        await setup.get("a")


async def test_during_an_outage_no_caller_waits_for_the_database(setup: Setup) -> None:
    await setup.get("a")
    setup.source.error = StoreUnavailable("away")
    setup.clock.now += 5
    await setup.get("a")
    setup.source.open.clear()
    assert await asyncio.wait_for(setup.get("a"), 20) == ["a1"]
    await settle()
    assert await asyncio.wait_for(setup.get("a"), 20) == ["a1"]
    setup.source.error = None
    setup.source.open.set()
    await settle()
    assert not setup.policy.is_database_unavailable
    assert await setup.get("a") == [f"a{len(setup.source.queries)}"]


async def test_a_database_that_hangs_counts_as_unavailable(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LOAD_TIMEOUT_SECONDS", 0.05)
    await setup.get("a", "b")
    setup.source.open.clear()
    setup.clock.now += 5
    callers = [asyncio.create_task(setup.get(key)) for key in ("a", *(f"k{number}" for number in range(450)), "b")]
    answers = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 20)
    assert (answers[0], answers[-1]) == (["a1"], ["b1"]), "two stale entries: one in the load, one queued behind it"
    assert {type(answer) for answer in answers[1:-1]} == {StoreUnavailable}
    assert setup.policy.is_database_unavailable
    assert len(setup.source.queries) == 3, "batches queued behind a load that failed are not tried one by one"
    setup.clock.now += STALE_IF_ERROR_SECONDS - 5.001
    assert await asyncio.wait_for(setup.get("a"), 20) == ["a1"]
    setup.clock.now += 0.001
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(setup.get("a"), 20)
    setup.source.open.set()
    assert await setup.get("a") != ["a1"]
    assert not setup.policy.is_database_unavailable


async def test_an_outage_that_was_noticed_long_ago_is_checked_before_stale_entries_answer(setup: Setup) -> None:
    await setup.get("a")
    setup.source.error = StoreUnavailable("away")
    setup.clock.now += 5
    assert await setup.get("a") == ["a1"]
    setup.source.error = None
    setup.clock.now += LOAD_TIMEOUT_SECONDS + 0.001
    assert await setup.get("a") == ["a3"]


async def test_an_outage_noticed_by_one_cache_spares_the_callers_of_another_the_wait(setup: Setup) -> None:
    other = a_cache_of(setup.source, policy=setup.policy)
    await other.get(["a"])
    setup.source.error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await setup.get("b")
    setup.clock.now += 2
    setup.source.open.clear()
    assert await asyncio.wait_for(other.get(["a"]), 20) == {"a": "a1"}


async def test_a_removed_entry_does_not_answer_during_an_outage(setup: Setup) -> None:
    await setup.get("a", "b")
    setup.source.error = StoreUnavailable("away")
    setup.cache.invalidate("A", remove=True)
    setup.cache.invalidate("B", remove=False)
    assert await setup.get("b") == ["b1"]
    with pytest.raises(StoreUnavailable):
        await setup.get("a")


# Errors and load shedding


async def test_an_unexpected_error_reaches_all_callers_and_is_not_kept(setup: Setup) -> None:
    setup.source.error = ValueError("a bug")
    results = await asyncio.gather(setup.get("a"), setup.get("a"), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    setup.source.error = None
    assert await setup.get("a") == ["a2"]


async def test_an_error_while_values_are_kept_reaches_the_caller_at_once() -> None:
    def broken(*_: str) -> int:
        raise ValueError("broken")

    source = Source()
    source.open.set()
    values = ReadThroughCache[str, str](
        source.load, lambda *_: (), broken, 1_000, CachePolicy(Clock()), CacheCounts("x"), lambda key: key
    )
    with pytest.raises(ValueError, match="broken"):
        await asyncio.wait_for(values.get_one("a"), 20)


async def test_callers_of_a_batch_whose_time_ends_in_the_queue_wait_no_longer(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WAIT_TIMEOUT_SECONDS", 0.05)
    setup.source.open.clear()
    callers = [asyncio.create_task(setup.get(*(f"{name}{number}" for number in range(200)))) for name in "ab"]
    await settle()
    callers.append(asyncio.create_task(setup.get("c")))
    assert {type(end) for end in await asyncio.gather(*callers, return_exceptions=True)} == {TimeoutError}
    monkeypatch.setattr(batches, "WAIT_TIMEOUT_SECONDS", 5.0)
    later = await setup.begin("d")
    setup.source.open.set()
    assert await later == ["d3"]
    setup.clock.now += TTL_SECONDS
    assert await setup.get("d") == ["d4"]


async def test_more_keys_than_can_be_read_are_refused_while_fresh_entries_answer(setup: Setup) -> None:
    await setup.get("a")
    setup.source.open.clear()
    callers = [asyncio.create_task(setup.get(f"k{number}")) for number in range(5_000)]
    await settle()
    refused = [caller for caller in callers if caller.done()]
    assert {type(caller.exception()) for caller in refused} == {Overloaded}
    assert len(refused) == 1_000
    assert await setup.get("a") == ["a1"]
    joined = await setup.begin("k7")
    assert not joined.done()
    setup.source.open.set()
    await asyncio.gather(*(caller for caller in callers if caller not in refused), joined)
    assert await setup.get("b")


async def test_a_key_that_was_found_is_not_new_when_it_is_read_again(
    monkeypatch: pytest.MonkeyPatch, setup: Setup
) -> None:
    monkeypatch.setattr(batches, "MAX_PENDING_NEW_KEYS", 0)
    await asyncio.gather(setup.get("a"), setup.get("b"))
    setup.cache.invalidate_all()
    assert len(await setup.get("a", "b")) == 2
    with pytest.raises(Overloaded):
        await setup.get("c", "d")
