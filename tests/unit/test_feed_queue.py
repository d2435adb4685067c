"""Tests how a feed's queue forms groups, and what each caller of `submit` waits for and gets raised."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from services.downloader.feed_queue import MAX_GROUP_EVENTS, FeedQueue, Requested
from shared.stores.errors import StoreUnavailable


@dataclass
class FakeHandler:
    """Handles groups: `groups` has each one that was started, as the number of events by listing key.

    A group is handled when the test calls `finish`; `error_of` returns what handling a group of these keys raises.
    """

    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    groups: list[dict[str, int]] = field(default_factory=list)
    error_of: Callable[[set[str]], Exception | None] = lambda _: None

    async def __call__(self, requested: Requested) -> None:
        self.groups.append({key: len(events) for (_, key), events in requested.items()})
        await self.gate.acquire()
        if error := self.error_of({key for _, key in requested}):
            raise error

    def finish(self, groups: int = 99) -> None:
        for _ in range(groups):
            self.gate.release()


def requested(**events: int) -> Requested:
    """Return events for each listing key, in the given number."""
    return {("feed", key): cast("Any", [object()] * count) for key, count in events.items()}


def started(*submits: Awaitable[None]) -> list[asyncio.Future[None]]:
    return [asyncio.ensure_future(submit) for submit in submits]


async def run_ready_tasks() -> None:
    """Let all tasks run until each of them waits."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_listings_that_wait_together_form_one_group() -> None:
    handler = FakeHandler()
    queue = FeedQueue(handler, 1)
    tasks = started(*(queue.submit(requested(**{key: 1})) for key in "ABCA"))
    await asyncio.sleep(0)
    handler.finish()
    await asyncio.gather(*tasks)
    assert handler.groups == [{"A": 1}, {"B": 1, "C": 1, "A": 1}]


async def test_a_group_has_a_maximum_number_of_events() -> None:
    handler = FakeHandler()
    queue = FeedQueue(handler, 1)
    tasks = started(queue.submit(requested(first=1)))
    await asyncio.sleep(0)
    tasks += started(*(queue.submit(requested(**{f"L{number}": 1})) for number in range(25)))
    await asyncio.sleep(0)
    handler.finish()
    await asyncio.gather(*tasks)
    assert [sum(group.values()) for group in handler.groups] == [1, MAX_GROUP_EVENTS, MAX_GROUP_EVENTS, 5]


async def test_as_many_groups_run_as_the_concurrency_allows() -> None:
    handler = FakeHandler()
    queue = FeedQueue(handler, 2)
    tasks = started(*(queue.submit(requested(**{key: MAX_GROUP_EVENTS})) for key in "ABC"))
    await run_ready_tasks()
    assert len(handler.groups) == 2
    handler.finish()
    await asyncio.gather(*tasks)
    assert len(handler.groups) == 3


async def test_store_unavailable_is_raised_to_all_submitters_of_the_group() -> None:
    handler = FakeHandler(error_of=lambda _: StoreUnavailable("unavailable"))
    queue = FeedQueue(handler, 1)
    tasks = started(*(queue.submit(requested(**{key: 1})) for key in "ABC"))
    await asyncio.sleep(0)
    handler.finish()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    assert len(handler.groups) == 2


async def test_an_error_is_raised_after_all_other_listings_are_done() -> None:
    handler = FakeHandler(error_of=lambda keys: StoreUnavailable("unavailable") if "A" in keys else None)
    queue = FeedQueue(handler, 2)
    (task,) = started(queue.submit(requested(A=MAX_GROUP_EVENTS, B=1)))
    (other,) = started(queue.submit(requested(C=1)))
    await run_ready_tasks()
    assert [set(group) for group in handler.groups] == [{"A"}, {"B", "C"}]
    handler.finish(1)
    await run_ready_tasks()
    assert not task.done()
    handler.finish(1)
    with pytest.raises(StoreUnavailable):
        await task
    await other


async def test_an_error_of_one_listing_does_not_fail_others_of_its_group() -> None:
    handler = FakeHandler(error_of=lambda keys: ValueError("B") if "B" in keys else None)
    queue = FeedQueue(handler, 1)
    tasks = started(*(queue.submit(requested(**{key: 1})) for key in "ABC"))
    await asyncio.sleep(0)
    handler.finish()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result and type(result) for result in results] == [None, ValueError, None]


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_a_cancelled_submit_takes_only_its_own_listings_out_of_the_queue(cancelled: int) -> None:
    handler = FakeHandler()
    queue = FeedQueue(handler, 1)
    tasks = started(*(queue.submit(requested(**{key: 1})) for key in "ABC"))
    await run_ready_tasks()
    tasks[cancelled].cancel()
    await run_ready_tasks()
    handler.finish()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        number == cancelled for number in range(3)
    ]


async def test_cancelling_the_submit_that_runs_a_group_cancels_the_others_of_that_group() -> None:
    handler = FakeHandler()
    queue = FeedQueue(handler, 1)
    tasks = started(*(queue.submit(requested(**{key: 1})) for key in "ABC"))
    await run_ready_tasks()
    handler.finish(1)
    await tasks[0]
    await run_ready_tasks()
    assert handler.groups[1:] == [{"B": 1, "C": 1}]
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(tasks[2], 20)


async def test_listings_queued_behind_a_cancelled_submit_are_handled() -> None:
    handler = FakeHandler()
    queue = FeedQueue(handler, 1)
    tasks = started(*(queue.submit(requested(**{key: MAX_GROUP_EVENTS})) for key in "ABC"))
    await run_ready_tasks()
    tasks[1].cancel()
    await run_ready_tasks()
    handler.finish()
    await asyncio.wait_for(tasks[2], 20)
    assert [set(group) for group in handler.groups] == [{"A"}, {"C"}]
