"""Photos per second from the event to the record, compared with scripts that only download and encode photos.

The services and the scripts fetch the same files from the same nginx, after a few files to warm up. Scheduler,
downloader, Kafka, MongoDB and object storage share the machine's cores with the encoders; the scripts store nothing.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil

from bench import origin, plain
from bench.origin import Origin
from bench.rows import Row
from services.downloader.fetch import Fetcher
from shared.domain.feed_file import parse_feeds
from shared.domain.priority import Priority
from shared.domain.variants import parse_variants
from shared.origin_budget.limits import limits_of
from shared.origin_budget.moments import SECOND_MICROS
from shared.stores import mongo
from tests import system
from tests.origins import FakePermit
from tests.servers import Servers, a_namespace
from tests.system import System, until

LISTINGS, PHOTOS, WIDTH = 31, 8, 1920
_SMALL = 320
"""Photos of this width in pixels are encoded so fast that only the feed's limits slow them down."""
_PLAIN = "a script with httpx and Pillow, each size from the next larger"
VARIANTS = {
    "WebP": "full=1600:webp:80,card=800:webp:78,thumb=320:webp:75",
    "JPEG": "full=1600:jpeg:80,card=800:jpeg:80,thumb=320:jpeg:80",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the services measured: photos per second, and CPU seconds per photo.

    The CPU is that of the downloader without its encoders.
    """

    rate: float
    cpu: float


async def run(servers: Servers) -> list[Row]:
    """Measure photos per second with WebP and with JPEG variants, then with small photos at a feed's default limits.

    Return the rows of the table. The services run before and after the scripts, because the machine's other load
    varies.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with origin.serving(folder / "origin", listings=LISTINGS, photos=PHOTOS, width=WIDTH) as photos:
            fetching = await asyncio.to_thread(_in_new_process, _cpu_of_fetching, photos)
            for form, variants in VARIANTS.items():
                rows += await _compared(servers, folder, photos, form, variants, fetching)
        async with origin.serving(folder / "small", listings=LISTINGS, photos=PHOTOS, width=_SMALL) as photos:
            run = await _ours(servers, folder / "paced", photos, photos.feeds_toml(free=False), VARIANTS["JPEG"])
            feed = parse_feeds(photos.feeds_toml(free=False))["sandbox"]
            limits = limits_of(feed, Priority.ROUTINE)
            rate = limits.requests_per_window / limits.window_micros * SECOND_MICROS
            rows.append(Row("small photos of a feed with default limits", run.rate, "photos/s", rate, "the limits"))
    return rows


async def _compared(
    servers: Servers, folder: Path, photos: Origin, form: str, variants: str, fetching: float
) -> list[Row]:
    specs = parse_variants(variants)
    first = await _ours(servers, folder / f"{form}-1", photos, photos.feeds_toml(), variants)
    scripts = {
        _PLAIN: await asyncio.to_thread(plain.smaller_from_larger, photos.urls, specs),
        "a script with httpx and Pillow, each size from the original": await asyncio.to_thread(
            plain.each_from_the_original, photos.urls, specs
        ),
    }
    if form == "JPEG" and (rate := await asyncio.to_thread(plain.scrapy, photos.urls, folder / "scrapy")):
        scripts["Scrapy's ImagesPipeline, one process"] = rate
    second = await _ours(servers, folder / f"{form}-2", photos, photos.feeds_toml(), variants)
    ours = 2 / (1 / first.rate + 1 / second.rate)
    rows = [Row(f"{form}: from event to record", ours, "photos/s", rate, name) for name, rate in scripts.items()]
    overhead = 1_000 * (min(first.cpu, second.cpu) - fetching)
    name = f"{form}: CPU of the downloader without fetching and encoding"
    if form != "JPEG":
        return [*rows, Row(name, overhead, "ms/photo")]
    target = 8.0 * 18.3 / scripts[_PLAIN]
    return [*rows, Row(name, overhead, "ms/photo", target, "the target: 8 ms if the Pillow script makes 18.3 photos/s")]


async def _ours(servers: Servers, folder: Path, photos: Origin, feeds: str, variants: str) -> Run:
    await asyncio.to_thread(folder.mkdir)
    namespace = a_namespace(servers)
    async with (
        system.running(namespace, feeds, folder, "scheduler", "downloader", variants=variants) as whole,
        mongo.connect(servers.mongo, namespace.db) as database,
    ):
        await whole.publish_listings(photos.records[0])
        await all_recorded(whole, database, PHOTOS)
        downloader, measured = psutil.Process(whole.pid("downloader")), len(photos.urls) - PHOTOS
        before, began = _cpu(downloader), time.monotonic()
        await whole.publish_listings(*photos.records[1:])
        await all_recorded(whole, database, len(photos.urls))
        return Run(measured / (time.monotonic() - began), (_cpu(downloader) - before) / measured)


async def all_recorded(whole: System, database: mongo.Database, photos: int, seconds: float = 900) -> None:
    """Wait until `photos` photos in `database` are recorded as downloaded; ask with a cheap query every 0.1 s.

    `whole` is the running system whose database it is. An error is raised after `seconds`.
    """

    async def is_complete() -> bool:
        await asyncio.sleep(0.1)
        sums = {"$group": {"_id": None, "downloaded": {"$sum": "$counts.downloaded"}}}
        rows = await database["listings"].aggregate([sums]).to_list(None)
        return bool(rows) and bool(rows[0]["downloaded"] >= photos)

    await until(is_complete, f"{photos} photos of {whole.namespace.db}", seconds=seconds)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _in_new_process(work: object, photos: Origin) -> float:
    """Return the number that `work(feeds, urls)` returns in a new process, whose CPU time then has no other work in it.

    `work` is a function that can be pickled; `feeds` is the text of a feeds.toml for the origin `photos`, and `urls`
    are the URLs of its photos.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return float(pool.submit(work, photos.feeds_toml(), list(photos.urls)).result())  # type: ignore[arg-type]


def _cpu_of_fetching(feeds: str, urls: Sequence[str]) -> float:
    """Fetch the photos at `urls` in this process, do nothing else with them, and return the CPU seconds per photo.

    `feeds` is the text of a feeds.toml for the photos' origin. A few photos are fetched before, to warm up.
    """
    asyncio.run(_fetch_all(feeds, urls[:8]))
    before = time.process_time()
    asyncio.run(_fetch_all(feeds, urls))
    return (time.process_time() - before) / len(urls)


async def _fetch_all(feeds: str, urls: Sequence[str]) -> None:
    feed = parse_feeds(feeds)["sandbox"]
    async with Fetcher({}) as fetcher:
        for first in range(0, len(urls), 10):
            with tempfile.TemporaryDirectory() as folder:
                await asyncio.gather(
                    *(fetcher.fetch(url, feed, Path(folder), None, FakePermit()) for url in urls[first : first + 10])
                )
