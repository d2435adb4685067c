"""Who waits for whom? Photos of one feed go together; each caller hears of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from services.downloader.feed_queue import MAX_GROUP_EVENTS, FeedQueue, Requested
from shared.stores.errors import StoreUnavailable


@dataclass
class Bench:
    """Groups as they were begun, by listing key and number of events; they end when told."""

    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    begun: list[dict[str, int]] = field(default_factory=list)
    fault: Callable[[set[str]], Exception | None] = lambda _: None

    async def __call__(self, asked: Requested) -> None:
        self.begun.append({key: len(events) for (_, key), events in asked.items()})
        await self.gate.acquire()
        if fault := self.fault({key for _, key in asked}):
            raise fault

    def end(self, groups: int = 99) -> None:
        for _ in range(groups):
            self.gate.release()


def asked(**events: int) -> Requested:
    return {("feed", key): cast("Any", [object()] * count) for key, count in events.items()}


def started(*waits: Awaitable[None]) -> list[asyncio.Future[None]]:
    return [asyncio.ensure_future(one) for one in waits]


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_those_that_wait_together_go_together() -> None:
    bench = Bench()
    queue = FeedQueue(bench, 1)
    tasks = started(*(queue.submit(asked(**{key: 1})) for key in "ABCA"))
    await asyncio.sleep(0)
    bench.end()
    await asyncio.gather(*tasks)
    assert bench.begun == [{"A": 1}, {"B": 1, "C": 1, "A": 1}]


async def test_a_group_is_no_larger_than_one_grant_can_serve() -> None:
    bench = Bench()
    queue = FeedQueue(bench, 1)
    tasks = started(queue.submit(asked(first=1)))
    await asyncio.sleep(0)
    tasks += started(*(queue.submit(asked(**{f"L{number}": 1})) for number in range(25)))
    await asyncio.sleep(0)
    bench.end()
    await asyncio.gather(*tasks)
    assert [sum(group.values()) for group in bench.begun] == [1, MAX_GROUP_EVENTS, MAX_GROUP_EVENTS, 5]


async def test_as_many_groups_are_at_work_as_there_is_room_for() -> None:
    bench = Bench()
    queue = FeedQueue(bench, 2)
    tasks = started(*(queue.submit(asked(**{key: MAX_GROUP_EVENTS})) for key in "ABC"))
    await settled()
    assert len(bench.begun) == 2
    bench.end()
    await asyncio.gather(*tasks)
    assert len(bench.begun) == 3


async def test_a_store_that_is_away_is_heard_of_by_all_whose_photos_it_held_up() -> None:
    bench = Bench(fault=lambda _: StoreUnavailable("away"))
    queue = FeedQueue(bench, 1)
    tasks = started(*(queue.submit(asked(**{key: 1})) for key in "ABC"))
    await asyncio.sleep(0)
    bench.end()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [StoreUnavailable] * 3
    assert len(bench.begun) == 2


async def test_a_fault_is_raised_once_all_the_rest_is_done_too() -> None:
    bench = Bench(fault=lambda keys: StoreUnavailable("away") if "A" in keys else None)
    queue = FeedQueue(bench, 2)
    (task,) = started(queue.submit(asked(A=MAX_GROUP_EVENTS, B=1)))
    (other,) = started(queue.submit(asked(C=1)))
    await settled()
    assert [set(group) for group in bench.begun] == [{"A"}, {"B", "C"}]
    bench.end(1)
    await settled()
    assert not task.done()
    bench.end(1)
    with pytest.raises(StoreUnavailable):
        await task
    await other


async def test_a_fault_of_one_listing_costs_the_others_nothing() -> None:
    bench = Bench(fault=lambda keys: ValueError("B") if "B" in keys else None)
    queue = FeedQueue(bench, 1)
    tasks = started(*(queue.submit(asked(**{key: 1})) for key in "ABC"))
    await asyncio.sleep(0)
    bench.end()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end and type(end) for end in ends] == [None, ValueError, None]


@pytest.mark.parametrize("who", [0, 1])
async def test_one_who_is_cancelled_takes_its_own_photos_along_and_leaves_the_line(who: int) -> None:
    bench = Bench()
    queue = FeedQueue(bench, 1)
    tasks = started(*(queue.submit(asked(**{key: 1})) for key in "ABC"))
    await settled()
    tasks[who].cancel()
    await settled()
    bench.end()
    ends = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert [isinstance(end, asyncio.CancelledError) for end in ends] == [number == who for number in range(3)]


async def test_nobody_waits_for_ever_for_one_who_was_cancelled() -> None:
    bench = Bench()
    queue = FeedQueue(bench, 1)
    tasks = started(*(queue.submit(asked(**{key: 1})) for key in "ABC"))
    await settled()
    bench.end(1)
    await tasks[0]
    await settled()
    assert bench.begun[1:] == [{"B": 1, "C": 1}]
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(tasks[2], 5)


async def test_those_behind_one_who_was_cancelled_are_not_left_over() -> None:
    bench = Bench()
    queue = FeedQueue(bench, 1)
    tasks = started(*(queue.submit(asked(**{key: MAX_GROUP_EVENTS})) for key in "ABC"))
    await settled()
    tasks[1].cancel()
    await settled()
    bench.end()
    await asyncio.wait_for(tasks[2], 5)
    assert [set(group) for group in bench.begun] == [{"A"}, {"C"}]
