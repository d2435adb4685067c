"""Measures eight workers that share an origin budget: the rate that they reach, and ledger writes for each request."""

import asyncio
import random
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.rows import Row
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.codec import Document
from shared.origin_budget.downloads import DownloadBatch, GrantedDownload
from shared.origin_budget.limits import limits_of
from shared.stores import mongo
from shared.stores.ledgers import Ledgers, StoredLedger
from tests.servers import Servers, a_namespace, running

WORKERS, SECONDS, WARM_UP_SECONDS = 8, 15.0, 3.0
DOWNLOAD_SECONDS = (0.05, 0.25)
FEEDS = {
    "as in feeds.example.toml": Feed(name="as-shipped", image_hosts=("127.0.0.1",)),
    "16 a second, no reserve": Feed(name="no-reserve", image_hosts=("127.0.0.1",), viewed_reserve=0.0),
    "2 a second, no pause": Feed(
        name="slow", image_hosts=("127.0.0.1",), requests_per_second=2, batch_pause_seconds=0, viewed_reserve=0.0
    ),
    "50 a second, no pause": Feed(
        name="fast", image_hosts=("127.0.0.1",), requests_per_second=50, batch_pause_seconds=0, concurrency=32
    ),
}


@dataclass
class CountedLedgers:
    """Passes one worker's calls to the store of ledgers in MongoDB, and counts reads and writes."""

    ledgers: Ledgers
    reads: int = 0
    writes: int = 0
    """The number of writes, refused ones included."""

    async def get(self, feed: str) -> StoredLedger:
        self.reads += 1
        return await self.ledgers.get(feed)

    async def replace(self, feed: str, document: Document, expected_revision: int) -> bool:
        self.writes += 1
        return await self.ledgers.replace(feed, document, expected_revision)


@dataclass
class Measured:
    """What one run measured: the requests that its workers sent. Times are seconds of the monotonic clock."""

    until: float
    """The time when the run ends."""
    sent: list[float] = field(default_factory=list)
    """The time of each request."""
    viewed_waits: list[float] = field(default_factory=list)
    """How many seconds each viewed photo waited for its request."""
    ledgers: list[CountedLedgers] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Return how many requests a second were sent between the warm-up and the end of the run."""
        begin, end = self.until - SECONDS + WARM_UP_SECONDS, self.until
        return sum(begin <= at < end for at in self.sent) / (end - begin)

    @property
    def most_in_a_second(self) -> int:
        """Return the largest number of requests that were sent within any one second of the run."""
        times = sorted(self.sent)
        return max(sum(begin <= other < begin + 1 for other in times[number:]) for number, begin in enumerate(times))

    @property
    def writes_per_request(self) -> float:
        """Return how many times the ledger was written, refused writes included, for each request that was sent."""
        return sum(ledgers.writes for ledgers in self.ledgers) / len(self.sent)


async def run(servers: Servers) -> list[Row]:
    """Measure the origin budget of each feed of `FEEDS` with batches of eight; return the rows of the table.

    The last feed is measured with batches of one too, for comparison, and the first with viewed photos.
    """
    rows: list[Row] = []
    for name, feed in FEEDS.items():
        limit = limits_of(feed, Priority.ROUTINE).requests_per_window
        measured = await _measure(servers, feed, batch_size=8)
        rows += [
            Row(f"{name}: routine requests", measured.per_second, "requests/s", limit, "the limit"),
            Row(f"{name}: most in any second", measured.most_in_a_second, "requests", limit, "the limit"),
        ]
    single = (await _measure(servers, feed, batch_size=1)).writes_per_request
    cost = measured.writes_per_request
    rows.append(Row(f"{name}: ledger writes", cost, "a request", single, "each image asks for itself"))
    with_viewed = await _measure(servers, FEEDS["as in feeds.example.toml"], batch_size=8, has_viewed=True)
    longest = max(with_viewed.viewed_waits) * 1_000
    rows.append(Row("a viewed image waits for its turn, at worst", longest, "ms", 3_000.0, "what the contract allows"))
    return rows


async def _measure(servers: Servers, feed: Feed, *, batch_size: int, has_viewed: bool = False) -> Measured:
    """Let eight workers take batches of `batch_size` routine photos for 15 s, and return the requests that they sent.

    With `has_viewed`, a ninth worker fetches viewed photos at the same time, and their waits are measured too.
    """
    measured, namespace = Measured(time.monotonic() + SECONDS), a_namespace(servers)
    async with AsyncExitStack() as closing:
        workers = list[OriginBudget]()
        for _ in range(WORKERS + has_viewed):
            database = await closing.enter_async_context(mongo.connect(servers.mongo, namespace.db))
            measured.ledgers.append(CountedLedgers(mongo.MongoLedgers(database)))
            workers.append(OriginBudget(measured.ledgers[-1], f"worker-{len(workers)}"))
        viewers = [_fetch_viewed(workers.pop(), feed, measured)] if has_viewed else []
        await asyncio.gather(*(_fetch_routine(worker, feed, batch_size, measured) for worker in workers), *viewers)
        await database.client.drop_database(namespace.db)
    return measured


async def _fetch_routine(worker: OriginBudget, feed: Feed, batch_size: int, measured: Measured) -> None:
    """Ask for batches of routine photos until the end of the run, as a downloader does.

    The time of each request is added to `measured.sent`. If the budget grants no request, wait until the time at which
    it says to ask again.
    """
    running: set[asyncio.Task[None]] = set()
    while time.monotonic() < measured.until:
        batch = await worker.take(feed, batch_size, Priority.ROUTINE)
        running |= {
            asyncio.create_task(_download(worker, download, batch, measured.sent)) for download in batch.downloads
        }
        if batch.ask_again_at and not batch.downloads:
            await asyncio.sleep((batch.ask_again_at - utc_now()).total_seconds())
    await asyncio.gather(*running)


async def _fetch_viewed(worker: OriginBudget, feed: Feed, measured: Measured) -> None:
    """Fetch a viewed photo about once a second, until 2 s before the end of the run that `measured` describes.

    For each photo, `measured.viewed_waits` gets the seconds from asking the origin budget to sending the request.
    `worker` is the origin budget as one worker uses it.
    """
    while time.monotonic() < measured.until - 2:
        await asyncio.sleep(0.5 + random.random())
        started_at = time.monotonic()
        batch = await worker.take(feed, 1, Priority.VIEWED)
        for download in batch.downloads:
            sent: list[float] = []
            await _download(worker, download, batch, sent)
            measured.viewed_waits.append(sent[0] - started_at)


async def _download(worker: OriginBudget, download: GrantedDownload, batch: DownloadBatch, sent: list[float]) -> None:
    if await worker.wait_for_planned_time(download):
        sent.append(time.monotonic())
        await asyncio.sleep(random.uniform(*DOWNLOAD_SECONDS))
    download.receive(250_000)
    await worker.record_end(download, None, batch=batch)


def main() -> int:
    """Start servers, run this benchmark alone against them, and print its rows.

    Return the exit code, which is always 0.
    """
    with running() as servers:
        for row in asyncio.run(run(servers)):
            ratio = f"{row.ratio:.2f} of {row.baseline:,.1f} ({row.against})" if row.baseline and row.ratio else ""
            print(f"{row.name:50} {row.value:10,.2f} {row.unit:12} {ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
