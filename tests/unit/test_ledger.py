"""Workers who share one ledger, in a simulated time: what they send, when, and what they do when told to stop."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from services.downloader.ledger import Batch, Download, OriginBudget
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.stores.budgets import MemoryBudgets, Stored
from shared.stores.errors import StoreUnavailable

T = TypeVar("T")
START = datetime(2026, 11, 23, 9, tzinfo=UTC)
THROTTLED = Failure(Reason.THROTTLED)
REFUSED = Failure(Reason.UNREACHABLE)
VIEWED, ROUTINE = Priority.VIEWED, Priority.ROUTINE


class SimulatedTime(asyncio.SelectorEventLoop):
    """A loop in which waiting takes no time: when nothing can run, the clock moves to the next moment that is due."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Impatient(self))

    def time(self) -> float:
        return self._now

    def go_on(self, seconds: float) -> None:
        self._now += seconds


class _Impatient(selectors.DefaultSelector):
    def __init__(self, loop: SimulatedTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for nothing"
        self._loop.go_on(timeout)
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        return found


def simulated(story: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=SimulatedTime) as runner:
        return runner.run(story)


@dataclass
class CountedBudgets(MemoryBudgets):
    """Ledgers in memory that count their writes, and that can be away."""

    writes: int = 0
    is_away: bool = False

    def __post_init__(self) -> None:
        super().__init__(lambda: START + timedelta(seconds=now()))

    async def get(self, feed: str) -> Stored:
        self._check()
        return await super().get(feed)

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        self._check()
        is_written = await super().replace(feed, document, expected_revision)
        self.writes += is_written
        return is_written

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")


@dataclass
class Origin:
    """What came when, and how it answers: a failure or None at each moment."""

    answer: Callable[[float], Failure | None] = lambda _: None
    seconds: float = 0.1
    requests: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def download(self, worker: OriginBudget, download: Download, batch: Batch) -> None:
        if not await worker.at_turn(download):
            await worker.finished(download, THROTTLED, received=0, batch=batch)
            return
        self.requests.append(now())
        self.running += 1
        self.most = max(self.most, self.running)
        failure = self.answer(now())
        await asyncio.sleep(self.seconds)
        self.running -= 1
        await worker.finished(download, failure, received=1_000, batch=batch)


def now() -> float:
    return asyncio.get_running_loop().time()


def a_feed(**rules: Any) -> Feed:
    return Feed(name="feed", image_hosts=("images.example.com",), **rules)


def a_worker(budgets: MemoryBudgets) -> OriginBudget:
    return OriginBudget(budgets, monotonic=now, chance=lambda: 0.5)


async def work(worker: OriginBudget, origin: Origin, feed: Feed, until: float, priority: Priority = ROUTINE) -> None:
    """Take batch after batch, as long as there is time; what cannot be had now is asked for when it is due."""
    running: set[asyncio.Task[None]] = set()
    while now() < until:
        batch = await worker.take(feed, 8, priority)
        running |= {asyncio.create_task(origin.download(worker, one, batch)) for one in batch.downloads}
        if not batch.downloads and batch.earliest:
            await asyncio.sleep((batch.earliest - START).total_seconds() - now())
    await asyncio.gather(*running)


async def many_work(budgets: MemoryBudgets, origin: Origin, feed: Feed, seconds: float, workers: int = 8) -> None:
    await asyncio.gather(*(work(a_worker(budgets), origin, feed, seconds) for _ in range(workers)))


def most_in(window: float, times: Sequence[float]) -> int:
    return max((sum(begin <= other < begin + window for other in times) for begin in times), default=0)


@pytest.mark.parametrize(
    ("rules", "least", "most", "seconds"),
    [
        ({}, 12, 12, 60),
        ({"viewed_reserve": 0.0}, 16, 16, 60),
        ({"viewed_reserve": 0.0, "batch_pause_seconds": 0.0}, 16, 16, 60),
        ({"batch_pause_seconds": 0.0, "requests_per_second": 40.0, "concurrency": 16}, 32, 32, 60),
        ({"requests_per_second": 0.0, "viewed_reserve": 0.0}, 16, 16, 60),
        ({"requests_per_second": 1.0, "concurrency": 1}, 1, 1, 60),
        ({"requests_per_second": 0.5, "concurrency": 1}, 0.5, 1, 60),
        ({"requests_per_second": 2.0, "viewed_reserve": 0.0}, 2, 2, 60),
        (
            {"requests_per_second": 0.0, "batch_pause_seconds": 0.0, "concurrency": 32, "viewed_reserve": 0.0},
            130,
            700,
            8,
        ),
    ],
)
def test_eight_workers_use_nine_tenths_of_what_a_feed_allows_and_never_more(
    rules: dict[str, Any], least: float, most: int, seconds: int
) -> None:
    origin = Origin()
    simulated(_eight(origin, a_feed(**rules), seconds))
    assert len(origin.requests) >= 0.9 * least * (seconds - 1)
    assert most_in(1.0, origin.requests) <= most
    assert origin.most <= a_feed(**rules).concurrency


async def _eight(origin: Origin, feed: Feed, seconds: int) -> None:
    await many_work(CountedBudgets(), origin, feed, seconds)
