"""Workers that share one ledger in simulated time, and the origin that they send requests to. `NOW` is time 0."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.codec import Document
from shared.origin_budget.downloads import DownloadBatch, GrantedDownload
from shared.stores.errors import StoreUnavailable
from shared.stores.ledgers import StoredLedger
from shared.stores.memory import MemoryLedgers
from tests.builders import NOW, after
from tests.simulated import now

THROTTLED = Failure(Reason.THROTTLED)
_NUMBERS = count()


@dataclass
class CountedLedgers(MemoryLedgers):
    """Ledgers in memory that count successful writes in `writes`, and can be unavailable or contended."""

    writes: int = 0
    is_unavailable: bool = False
    is_contended: bool = False
    """True while other writers are always faster."""

    def __post_init__(self) -> None:
        super().__init__(lambda: after(now()))

    async def get(self, feed: str) -> StoredLedger:
        self._check()
        return await super().get(feed)

    async def replace(self, feed: str, document: Document, expected_revision: int) -> bool:
        self._check()
        if self.is_contended:
            return False
        is_written = await super().replace(feed, document, expected_revision)
        self.writes += is_written
        return is_written

    def delete_all(self) -> None:
        """Delete all ledgers, as an operator may do by hand."""
        self._stored.clear()

    def _check(self) -> None:
        if self.is_unavailable:
            raise StoreUnavailable("unavailable")


@dataclass
class Origin:
    """An origin in simulated time: how it answers, and which requests it got."""

    answer: Callable[[float], Failure | None] = lambda _: None
    """From the time of a request, in seconds, to the failure, or to None for a good answer."""
    answer_seconds: float = 0.1
    """How long each answer takes."""
    requests: list[float] = field(default_factory=list)
    """The time of each request, in seconds."""
    running: int = 0
    max_running: int = 0

    async def download(self, worker: OriginBudget, download: GrantedDownload, batch: DownloadBatch) -> None:
        """Carry out a granted download as `worker` would: one request at its planned time, or none if it is refused."""
        download.image_id = download.slot
        if not await worker.wait_for_planned_time(download):
            await worker.record_end(download, THROTTLED, batch=batch)
            return
        self.requests.append(now())
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        failure = self.answer(now())
        await asyncio.sleep(self.answer_seconds)
        self.running -= 1
        download.receive(1_000)
        await worker.record_end(download, failure, batch=batch)


def a_worker(ledgers: MemoryLedgers, name: str | None = None) -> OriginBudget:
    """Return the origin budget as one worker uses it, in simulated time.

    Without a `name`, the worker gets one of its own.
    """
    return OriginBudget(ledgers, name or f"worker-{next(_NUMBERS)}", monotonic=now, chance=lambda: 0.5)


async def one_batch(worker: OriginBudget, origin: Origin, feed: Feed) -> None:
    """Take one batch of at most eight routine downloads of the feed, carry all of them out, and wait for their ends."""
    batch = await worker.take(feed, 8, Priority.ROUTINE)
    await asyncio.gather(*(origin.download(worker, download, batch) for download in batch.downloads))


async def many_work(ledgers: MemoryLedgers, origin: Origin, feed: Feed, seconds: float, workers: int = 8) -> None:
    """Let `workers` new workers take routine batches for `seconds` of simulated time; wait for the downloads' ends."""
    await asyncio.gather(*(_work(a_worker(ledgers), origin, feed, seconds) for _ in range(workers)))


async def _work(worker: OriginBudget, origin: Origin, feed: Feed, until: float) -> None:
    running: set[asyncio.Task[None]] = set()
    while now() < until:
        batch = await worker.take(feed, 8, Priority.ROUTINE)
        running |= {asyncio.create_task(origin.download(worker, download, batch)) for download in batch.downloads}
        if not batch.downloads and batch.ask_again_at:
            await asyncio.sleep(seconds_at(batch.ask_again_at) - now())
    await asyncio.gather(*running)


def seconds_at(at: datetime) -> float:
    """Return a time of the store's clock as seconds of simulated time."""
    return (at - NOW).total_seconds()


def most_in(window_seconds: float, times: Sequence[float]) -> int:
    """Return how many of the `times`, in seconds, lie within one window of this length, at most."""
    return max((sum(begin <= other < begin + window_seconds for other in times) for begin in times), default=0)
