"""What was read is kept for a moment and within its memory; what is asked for together is read together."""

import asyncio
import traceback
import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from services.resolver import kept as kept_module
from services.resolver.kept import (
    DEAF_SECONDS,
    HEARING_SECONDS,
    OUTAGE_SECONDS,
    READING_SECONDS,
    Kept,
    Overloaded,
    Terms,
)
from shared.stores.errors import StoreUnavailable


@dataclass
class Source:
    """Where values are read: each is its key and how often anything was read before; it can be slow, or away."""

    readings: list[set[str]] = field(default_factory=list)
    fault: Exception | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self, keys: Collection[str]) -> Mapping[str, str]:
        self.readings.append(set(keys))
        value = str(len(self.readings))
        await self.open.wait()
        if self.fault:
            raise self.fault
        return {key: f"{key}{value}" for key in keys}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Setting:
    source: Source
    clock: Clock
    terms: Terms
    kept: Kept[str, str]

    async def get(self, *keys: str) -> list[str]:
        found = await self.kept.get(keys)
        return [found[key] for key in keys]


@pytest.fixture
def one() -> Setting:
    """Something that keeps values of ten bytes each, a hundred at most; a value belongs to the group of its letter."""
    source, clock = Source(), Clock()
    source.open.set()
    terms = Terms(clock, CollectorRegistry())
    terms.seconds = HEARING_SECONDS
    kept = Kept[str, str]("x", source.load, lambda key, _: (key[0].upper(),), lambda *_: 10, 1_000, terms)
    return Setting(source, clock, terms, kept)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_before_kafka_is_heard_values_are_kept_for_the_shorter_time() -> None:
    assert Terms(Clock(), CollectorRegistry()).seconds == DEAF_SECONDS


async def test_a_value_is_kept_for_its_time_and_no_longer(one: Setting) -> None:
    assert await one.get("a") == ["a1"]
    one.clock.now += HEARING_SECONDS - 0.001
    assert await one.get("a") == ["a1"]
    one.clock.now += 0.001
    assert await one.get("a") == ["a2"]


async def test_the_time_begins_when_the_reading_begins(one: Setting) -> None:
    one.source.open.clear()
    asking = asyncio.create_task(one.get("a"))
    await settled()
    one.clock.now += HEARING_SECONDS
    one.source.open.set()
    assert await asking == ["a1"]
    assert await one.get("a") == ["a2"]


async def test_while_kafka_is_silent_values_are_kept_for_a_shorter_time(one: Setting) -> None:
    one.terms.seconds = 0.5
    await one.get("a")
    one.clock.now += 0.5
    assert await one.get("a") == ["a2"]


async def test_what_is_asked_for_at_the_same_time_is_read_once_and_together(one: Setting) -> None:
    answers = await asyncio.gather(*(one.get(key) for key in "abcabc"), one.get("a", "d"))
    assert one.source.readings == [{"a", "b", "c", "d"}]
    assert answers[0] == answers[3] == ["a1"]


async def test_what_is_asked_for_while_it_is_read_waits_for_that_reading(one: Setting) -> None:
    one.source.open.clear()
    first = asyncio.create_task(one.get("a"))
    await settled()
    second = asyncio.create_task(one.get("a"))
    await settled()
    one.source.open.set()
    assert await first == await second == ["a1"]
    assert len(one.source.readings) == 1


async def test_one_who_leaves_does_not_take_the_reading_along(one: Setting) -> None:
    one.source.open.clear()
    leaving, staying = asyncio.create_task(one.get("a")), asyncio.create_task(one.get("a"))
    await settled()
    leaving.cancel()
    one.source.open.set()
    assert await staying == ["a1"]


@pytest.mark.parametrize("for_good", [False, True])
async def test_what_an_event_names_is_read_anew(one: Setting, for_good: bool) -> None:
    await one.get("a", "b")
    one.kept.forget("A", for_good=for_good)
    assert await one.get("a", "b") == ["a2", "b1"]
    one.kept.forget_all()
    assert await one.get("a", "b") == ["a3", "b3"]


@pytest.mark.parametrize("everything", [False, True])
async def test_what_changes_while_it_is_read_is_not_kept_and_not_given_to_those_who_come_later(
    one: Setting, everything: bool
) -> None:
    one.source.open.clear()
    before = asyncio.create_task(one.get("a"))
    await settled()
    if everything:
        one.kept.forget_all()
    else:
        one.kept.forget("A", for_good=False)
    after = asyncio.create_task(one.get("a"))
    await settled()
    one.source.open.set()
    assert (await before, await after) == (["a1"], ["a2"])
    assert await one.get("a") == ["a2"]


async def test_the_memory_is_kept_to_and_what_was_read_first_goes_first(one: Setting) -> None:
    for number in range(1_000):
        await one.get(f"k{number}")
        assert one.kept.counts.bytes <= 1_000
    assert one.kept.counts.bytes == 1_000
    reads = len(one.source.readings)
    await one.get(*(f"k{number}" for number in range(900, 1_000)))
    assert len(one.source.readings) == reads
    await one.get("k899")
    assert len(one.source.readings) == reads + 1


async def test_what_is_too_large_is_answered_and_not_kept() -> None:
    source = Source()
    source.open.set()
    kept = Kept[str, str]("x", source.load, lambda *_: (), lambda *_: 2_000, 1_000, Terms(Clock(), CollectorRegistry()))
    assert await kept.get(["a"]) == {"a": "a1"}
    assert kept.counts.bytes == 0


async def test_nothing_is_held_that_is_too_old_for_any_use(one: Setting) -> None:
    await one.get(*(f"k{number}" for number in range(50)))
    one.clock.now += OUTAGE_SECONDS
    await one.get("a")
    assert one.kept.counts.bytes == 10


async def test_while_the_database_is_away_what_was_read_serves_for_half_a_minute(one: Setting) -> None:
    await one.get("a")
    one.source.fault = StoreUnavailable("away")
    one.clock.now += 5
    assert await one.get("a") == ["a1"]
    assert one.terms.is_failing
    with pytest.raises(StoreUnavailable):
        await one.get("a", "b")
    one.clock.now += OUTAGE_SECONDS - 5.001
    assert await one.get("a") == ["a1"]
    await settled()
    one.clock.now += 0.001
    with pytest.raises(StoreUnavailable):
        await one.get("a")


async def test_during_an_outage_nobody_waits_for_the_database_to_answer(one: Setting) -> None:
    await one.get("a")
    one.source.fault = StoreUnavailable("away")
    one.clock.now += 5
    await one.get("a")
    one.source.open.clear()
    assert await asyncio.wait_for(one.get("a"), 1) == ["a1"]
    await settled()
    assert await asyncio.wait_for(one.get("a"), 1) == ["a1"]
    one.source.fault = None
    one.source.open.set()
    await settled()
    assert not one.terms.is_failing
    assert await one.get("a") == [f"a{len(one.source.readings)}"]


async def test_a_database_that_hangs_is_as_good_as_away(one: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "READING_SECONDS", 0.05)
    await one.get("a", "b")
    one.source.open.clear()
    one.clock.now += 5
    reading = [asyncio.create_task(one.get(key)) for key in ("a", *(f"k{number}" for number in range(450)), "b")]
    answers = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), 3)
    assert (answers[0], answers[-1]) == (["a1"], ["b1"]), "known, the one being read, the other behind it"
    assert {type(answer) for answer in answers[1:-1]} == {StoreUnavailable}
    assert one.terms.is_failing
    assert len(one.source.readings) == 3, "what waits behind a reading that failed is not tried one by one"
    one.clock.now += OUTAGE_SECONDS - 5.001
    assert await asyncio.wait_for(one.get("a"), 1) == ["a1"]
    one.clock.now += 0.001
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(one.get("a"), 1)
    one.source.open.set()
    assert await one.get("a") != ["a1"]
    assert not one.terms.is_failing


async def test_a_database_that_nobody_asked_lately_is_asked_before_what_was_read_is_served(one: Setting) -> None:
    await one.get("a")
    one.source.fault = StoreUnavailable("away")
    one.clock.now += 5
    assert await one.get("a") == ["a1"]
    one.source.fault = None
    one.clock.now += READING_SECONDS + 0.001
    assert await one.get("a") == ["a3"]


def test_nothing_older_than_the_contract_allows_is_answered() -> None:
    assert max(READING_SECONDS, HEARING_SECONDS, DEAF_SECONDS) <= 2.0


async def begun(one: Setting, *keys: str) -> asyncio.Task[list[str]]:
    """Begin a reading that ends when its own gate is opened."""
    asking = asyncio.create_task(one.get(*keys))
    await settled()
    return asking


async def test_an_older_reading_that_ends_late_takes_nothing_from_a_newer_one(one: Setting) -> None:
    older = one.source.open = asyncio.Event()
    first = await begun(one, "a", "b")
    one.kept.forget("B", for_good=False)
    newer = one.source.open = asyncio.Event()
    one.clock.now += 0.5
    second = await begun(one, "a")
    newer.set()
    assert await second == ["a2"]
    older.set()
    assert await first == ["a1", "b1"]
    assert await one.get("a") == ["a2"], "kept from the newer reading"


async def test_an_outdated_reading_that_ends_leaves_the_one_in_its_place_to_be_joined(one: Setting) -> None:
    older = one.source.open = asyncio.Event()
    first = await begun(one, "a")
    one.kept.forget("A", for_good=False)
    newer = one.source.open = asyncio.Event()
    second = await begun(one, "a")
    older.set()
    assert await first == ["a1"]
    joined = await begun(one, "a")
    newer.set()
    assert [await second, await joined] == [["a2"], ["a2"]]
    assert len(one.source.readings) == 2


async def test_what_was_on_its_way_when_everything_was_forgotten_is_read_anew(one: Setting) -> None:
    one.source.open.clear()
    asking = await begun(one, "a")
    one.kept.forget_all()
    one.source.open.set()
    assert await asking == ["a1"]
    assert await one.get("a") == ["a2"]


async def test_a_fault_is_raised_for_each_who_waits_as_if_for_it_alone(one: Setting) -> None:
    one.source.open.clear()
    asking = [asyncio.create_task(one.kept.one("a")) for _ in range(50)]
    await settled()
    one.source.fault = ValueError("broken")
    one.source.open.set()
    lengths = set()
    for one_asks in asking:
        try:
            await one_asks
        except ValueError as fault:
            lengths.add(len(traceback.extract_tb(fault.__traceback__)))
    assert len(lengths) == 1, "nobody's traceback holds the others'"


async def test_a_fault_in_what_was_read_reaches_who_waits_at_once() -> None:
    def broken(*_: str) -> int:
        raise ValueError("broken")

    source = Source()
    source.open.set()
    kept = Kept[str, str]("x", source.load, lambda *_: (), broken, 1_000, Terms(Clock(), CollectorRegistry()))
    with pytest.raises(ValueError, match="broken"):
        await asyncio.wait_for(kept.one("a"), 1)


async def test_what_is_not_kept_is_held_by_nothing_else() -> None:
    class Big:
        """Can be seen to be gone."""

    async def load(keys: Collection[str]) -> Mapping[str, Big]:
        return {key: Big() for key in keys}

    kept = Kept[str, Big]("x", load, lambda *_: (), lambda *_: 10, 1_000, Terms(Clock(), CollectorRegistry()))
    gone = weakref.ref(await kept.one("a"))
    kept.forget_all()
    await kept.one("a")
    await asyncio.sleep(0.1)  # a reading is known for some milliseconds
    assert gone() is None


async def test_a_reading_whose_time_was_over_before_it_began_keeps_nobody_waiting(
    one: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "READ_SECONDS", 0.05)
    one.source.open.clear()
    asking = [asyncio.create_task(one.get(*(f"{name}{number}" for number in range(200)))) for name in "ab"]
    await settled()
    asking.append(asyncio.create_task(one.get("c")))
    assert {type(end) for end in await asyncio.gather(*asking, return_exceptions=True)} == {TimeoutError}
    monkeypatch.setattr(kept_module, "READ_SECONDS", 5.0)
    later = asyncio.create_task(one.get("d"))
    await settled()
    one.source.open.set()
    assert await later == ["d3"]
    one.clock.now += HEARING_SECONDS
    assert await one.get("d") == ["d4"]


async def test_what_one_kind_finds_out_about_the_database_spares_the_others_the_wait(one: Setting) -> None:
    other = Kept[str, str]("y", one.source.load, lambda *_: (), lambda *_: 10, 1_000, one.terms)
    await other.get(["a"])
    one.source.fault = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await one.get("b")
    one.clock.now += 2
    one.source.open.clear()
    assert await asyncio.wait_for(other.get(["a"]), 1) == {"a": "a1"}


async def test_what_was_removed_is_not_served_during_an_outage(one: Setting) -> None:
    await one.get("a", "b")
    one.source.fault = StoreUnavailable("away")
    one.kept.forget("A", for_good=True)
    one.kept.forget("B", for_good=False)
    assert await one.get("b") == ["b1"]
    with pytest.raises(StoreUnavailable):
        await one.get("a")


async def test_a_fault_of_ours_is_raised_to_all_who_wait_and_not_kept(one: Setting) -> None:
    one.source.fault = ValueError("a bug")
    results = await asyncio.gather(one.get("a"), one.get("a"), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    one.source.fault = None
    assert await one.get("a") == ["a2"]


async def test_too_much_at_once_is_refused_while_what_is_kept_is_answered(one: Setting) -> None:
    await one.get("a")
    one.source.open.clear()
    asking = [asyncio.create_task(one.get(f"k{number}")) for number in range(5_000)]
    await settled()
    refused = [task for task in asking if task.done()]
    assert {type(task.exception()) for task in refused} == {Overloaded}
    assert len(refused) == 1_000
    assert await one.get("a") == ["a1"]
    joined = asyncio.create_task(one.get("k7"))
    await settled()
    assert not joined.done()
    one.source.open.set()
    await asyncio.gather(*(task for task in asking if task not in refused), joined)
    assert await one.get("b")


async def test_beside_another_reading_a_small_one_waits_a_moment_for_more(
    one: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "_GATHER_SECONDS", 1.0)
    one.source.open.clear()
    gets = [asyncio.create_task(one.get("a"))]
    await settled()
    gets += [asyncio.create_task(one.get(key)) for key in ("b", "c")]
    await settled()
    assert one.source.readings == [{"a"}]
    async with asyncio.timeout(5):
        while len(one.source.readings) < 2:  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.001)
    assert one.source.readings == [{"a"}, {"b", "c"}]
    one.source.open.set()
    await asyncio.gather(*gets)


async def test_a_reading_that_is_worth_it_begins_at_once_and_with_all_that_was_asked_together(one: Setting) -> None:
    one.source.open.clear()
    gets, page = [asyncio.create_task(one.get("a"))], [f"k{number}" for number in range(50)]
    await settled()
    gets.append(asyncio.create_task(one.get(*page)))
    await settled()
    assert one.source.readings == [{"a"}, set(page)]
    one.source.open.set()
    await asyncio.gather(*gets)


async def test_what_is_asked_for_beside_another_reading_is_read_in_halves_that_are_alike(one: Setting) -> None:
    one.source.open.clear()
    first = asyncio.create_task(one.get("a"))
    await settled()
    gets = [asyncio.create_task(one.get(f"k{number}")) for number in range(31)]
    await settled()
    one.source.open.set()
    await asyncio.gather(first, *gets)
    assert [len(reading) for reading in one.source.readings] == [1, 16, 15]


async def test_what_is_asked_for_together_is_read_together_beside_whatever_else(one: Setting) -> None:
    one.source.open.clear()
    pages = [[f"{page}{number}" for number in range(size)] for page, size in enumerate((1, 30, 50, 30, 50))]
    gets = []
    for page in pages:
        gets.append(asyncio.create_task(one.get(*page)))
        await settled()
    one.source.open.set()
    await asyncio.gather(*gets)
    assert one.source.readings == [set(page) for page in pages]
