"""The budget that eight workers share on one real MongoDB: how much of the allowed rate they keep, and at what cost."""

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.rows import Row
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.downloads import Batch
from shared.origin_budget.downloads import GrantedDownload as Download
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
class Counted:
    """The ledgers in MongoDB, counting what is read and written."""

    ledgers: Ledgers
    reads: int = 0
    writes: int = 0

    async def get(self, feed: str) -> StoredLedger:
        """Count and pass on."""
        self.reads += 1
        return await self.ledgers.get(feed)

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        """Count and pass on, refused writes too."""
        self.writes += 1
        return await self.ledgers.replace(feed, document, expected_revision)


@dataclass
class Found:
    """Moments at which requests went out, in seconds of one clock; and what a viewed image waited for its turn."""

    until: float
    sent: list[float] = field(default_factory=list)
    viewed_waits: list[float] = field(default_factory=list)
    ledgers: list[Counted] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Requests a second, the first seconds and what was planned for after the end left out."""
        begin, end = self.until - SECONDS + WARM_UP_SECONDS, self.until
        return sum(begin <= moment < end for moment in self.sent) / (end - begin)

    @property
    def most_in_a_second(self) -> int:
        """The most requests that any second held."""
        times = sorted(self.sent)
        return max(sum(begin <= other < begin + 1 for other in times[number:]) for number, begin in enumerate(times))


async def run(servers: Servers) -> list[Row]:
    """Measure each feed with batches of eight, and one of them with one ledger operation an image."""
    rows: list[Row] = []
    for name, feed in FEEDS.items():
        limit = limits_of(feed, Priority.ROUTINE).requests_per_window
        found = await _measure(servers, feed, wanted=8)
        rows += [
            Row(f"{name}: routine requests", found.per_second, "requests/s", limit, "the limit"),
            Row(f"{name}: most in any second", found.most_in_a_second, "requests", limit, "the limit"),
        ]
    single = await _measure(servers, feed, wanted=1)
    rows.append(Row(f"{name}: ledger writes", _cost(found), "a request", _cost(single), "each image asks for itself"))
    watched = await _measure(servers, FEEDS["as in feeds.example.toml"], wanted=8, viewed=True)
    worst = max(watched.viewed_waits) * 1_000
    rows.append(Row("a viewed image waits for its turn, at worst", worst, "ms", 3_000.0, "what the contract allows"))
    return rows


def _cost(found: Found) -> float:
    return sum(one.writes for one in found.ledgers) / len(found.sent)


async def _measure(servers: Servers, feed: Feed, *, wanted: int, viewed: bool = False) -> Found:
    found, namespace = Found(time.monotonic() + SECONDS), a_namespace(servers)
    async with AsyncExitStack() as closing:
        workers = list[OriginBudget]()
        for _ in range(WORKERS + viewed):
            database = await closing.enter_async_context(mongo.connect(servers.mongo, namespace.db))
            found.ledgers.append(Counted(mongo.MongoLedgers(database)))
            workers.append(OriginBudget(found.ledgers[-1], f"worker-{len(workers)}"))
        people = [_people(workers.pop(), feed, found)] if viewed else []
        await asyncio.gather(*(_work(worker, feed, wanted, found) for worker in workers), *people)
        await database.client.drop_database(namespace.db)
    return found


async def _work(worker: OriginBudget, feed: Feed, wanted: int, found: Found) -> None:
    """Ask for batch after batch, as a downloader does: what cannot be had now is due again when the budget says."""
    running: set[asyncio.Task[None]] = set()
    while time.monotonic() < found.until:
        batch = await worker.take(feed, wanted, Priority.ROUTINE)
        running |= {asyncio.create_task(_download(worker, one, batch, found.sent)) for one in batch.downloads}
        if batch.ask_again_at and not batch.downloads:
            await asyncio.sleep((batch.ask_again_at - utc_now()).total_seconds())
    await asyncio.gather(*running)


async def _people(worker: OriginBudget, feed: Feed, found: Found) -> None:
    """One viewed image a second."""
    for _ in itertools.takewhile(lambda _: time.monotonic() < found.until - 2, itertools.count()):
        await asyncio.sleep(0.5 + random.random())
        began = time.monotonic()
        batch = await worker.take(feed, 1, Priority.VIEWED)
        for one in batch.downloads:
            sent: list[float] = []
            await _download(worker, one, batch, sent)
            found.viewed_waits.append(sent[0] - began)


async def _download(worker: OriginBudget, download: Download, batch: Batch, sent: list[float]) -> None:
    if await worker.wait_for_planned_time(download):
        sent.append(time.monotonic())
        await asyncio.sleep(random.uniform(*DOWNLOAD_SECONDS))
    download.receive(250_000)
    await worker.record_end(download, None, batch=batch)


def main() -> int:
    """Measure against servers of this run's own, and print what was found."""
    with running() as servers:
        for row in asyncio.run(run(servers)):
            ratio = f"{row.ratio:.2f} of {row.baseline:,.1f} ({row.against})" if row.baseline and row.ratio else ""
            print(f"{row.name:50} {row.value:10,.2f} {row.unit:12} {ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
