"""Photos per second from the event to the record, compared with scripts that only download and encode photos.

The services and the scripts fetch the same files from the same nginx, after a few files to warm up. Scheduler,
downloader, Kafka, MongoDB and object storage share the machine's cores with the encoders; of the scripts one stores.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bench import cpu, origin, plain, sharp
from bench.origin import Origin
from bench.rows import Row
from services.downloader.encoders import Encoders
from services.downloader.fetch import Fetcher
from services.downloader.picture import Encoded
from shared.domain.feed_file import parse_feeds
from shared.domain.priority import Priority
from shared.domain.variants import VariantSpec, parse_variants
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
_ENCODED, _ROUNDS = 96, 2
"""How many photos are encoded without being fetched, and how often the services and each script are measured."""
_PLAIN = "a script with httpx and Pillow, each size from the next larger"
_SHARP = "a script with Sharp"
VARIANTS = {
    "WebP": "full=1600:webp:80,card=800:webp:78,thumb=320:webp:75",
    "JPEG": "full=1600:jpeg:80,card=800:jpeg:80,thumb=320:jpeg:80",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the services measured: photos per second, and CPU milliseconds per photo by process."""

    rate: float
    cpu: Mapping[str, float]


async def run(servers: Servers) -> list[Row]:
    """Measure photos per second with WebP and with JPEG variants, then with small photos at a feed's default limits.

    Return the rows of the table. The services and the scripts run by turns, because the machine's other load varies.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with origin.serving(folder / "origin", listings=LISTINGS, photos=PHOTOS, width=WIDTH) as photos:
            fetching = 1_000 * await asyncio.to_thread(_in_new_process, _cpu_of_fetching, photos)
            for form, variants in VARIANTS.items():
                rows += await _encoding_alone(folder, form, variants)
                rows += await _compared(servers, folder, photos, form, variants, fetching)
        async with origin.serving(folder / "small", listings=LISTINGS, photos=PHOTOS, width=_SMALL) as photos:
            run = await _ours(servers, folder / "paced", photos, photos.feeds_toml(free=False), VARIANTS["JPEG"])
            feed = parse_feeds(photos.feeds_toml(free=False))["sandbox"]
            limits = limits_of(feed, Priority.ROUTINE)
            rate = limits.requests_per_window / limits.window_micros * SECOND_MICROS
            rows.append(Row("small photos of a feed with default limits", run.rate, "photos/s", rate, "the limits"))
    return rows


async def _encoding_alone(folder: Path, form: str, variants: str) -> list[Row]:
    """Return a row that compares the service's encoders with Sharp: both read the same files, and store nothing.

    `folder` has the origin's photos, and gets the encoded variants.
    """
    files = sorted((folder / "origin" / "photos").glob("*/*.jpg"))[:_ENCODED]
    specs, ours, sharps = parse_variants(variants), list[float](), list[float]()
    for _ in range(_ROUNDS):
        ours.append(await _encode_all(files, specs))
        sharps.append(await asyncio.to_thread(sharp.rate, list(map(str, files)), specs))
    return [Row(f"{form}: encoding alone", _mean(ours), "photos/s", _mean(sharps), "Sharp, which only encodes")]


async def _encode_all(files: Sequence[Path], specs: tuple[VariantSpec, ...]) -> float:
    """Encode the photos in the service's own child processes, and return photos per second."""
    with tempfile.TemporaryDirectory() as name:
        async with Encoders() as encoders:

            async def encode(file: Path) -> None:
                # A child may read and write only in the folder of its first photo.
                source = Path(name) / f"{file.parent.name}-{file.name}"
                into = source.with_suffix("")
                into.mkdir(exist_ok=True)
                shutil.copy(file, source)
                encoded = await encoders.encode(source, into, specs, 60_000_000)
                assert isinstance(encoded, Encoded), encoded

            await asyncio.gather(*map(encode, files[:4]))  # warms up
            began = time.monotonic()
            await asyncio.gather(*map(encode, files))
            return len(files) / (time.monotonic() - began)


async def _compared(
    servers: Servers, folder: Path, photos: Origin, form: str, variants: str, fetching: float
) -> list[Row]:
    specs = parse_variants(variants)
    scripts: Mapping[str, Callable[[], float]] = {
        _PLAIN: partial(plain.smaller_from_larger, photos.urls, specs),
        _SHARP: partial(sharp.rate, photos.urls, specs),
        "a script with Sharp that also stores": partial(sharp.rate, photos.urls, specs, servers),
    }
    once = {"a script with httpx and Pillow, each size from the original": plain.each_from_the_original}
    ours: list[Run] = []
    rates: dict[str, list[float]] = {name: [] for name in scripts}
    for number in range(_ROUNDS):
        ours.append(await _ours(servers, folder / f"{form}-{number}", photos, photos.feeds_toml(), variants))
        for name, script in scripts.items():
            rates[name].append(await asyncio.to_thread(script))
    for name, slow in once.items():
        rates[name] = [await asyncio.to_thread(slow, photos.urls, specs)]
    if form == "JPEG" and (rate := await asyncio.to_thread(plain.scrapy, photos.urls, folder / "scrapy")):
        rates["Scrapy's ImagesPipeline, one process"] = [rate]
    speed = _mean([run.rate for run in ours])
    rows = [Row(f"{form}: from event to record", speed, "photos/s", _mean(rate), name) for name, rate in rates.items()]
    return [*rows, *_cpu_rows(form, ours, fetching, _mean(rates[_PLAIN]))]


def _cpu_rows(form: str, runs: Sequence[Run], fetching: float, plain_rate: float) -> list[Row]:
    """Return rows with the CPU milliseconds for each photo: of each process, of all, and of the downloader's own work.

    The numbers are those of the run that used the least CPU. `form` is the format of the variants. The downloader's own
    work is without `fetching`, the CPU milliseconds of fetching a photo. `plain_rate` is how many photos a second the
    Pillow script makes, which says how fast the machine is.
    """
    best = min(runs, key=lambda run: sum(run.cpu.values()))
    rows = [Row(f"{form}: CPU of {process}", ms, "ms/photo") for process, ms in best.cpu.items()]
    rows.append(Row(f"{form}: CPU of all processes", sum(best.cpu.values()), "ms/photo"))
    overhead = best.cpu["downloader"] - fetching
    name = f"{form}: CPU of the downloader without fetching and encoding"
    if form != "JPEG":
        return [*rows, Row(name, overhead, "ms/photo")]
    target = 8.0 * 15.0 / plain_rate
    return [*rows, Row(name, overhead, "ms/photo", target, "the target: 8 ms if the Pillow script makes 15 photos/s")]


def _mean(rates: Sequence[float]) -> float:
    """Return the photos per second over several runs together. Each run has equally many photos."""
    return len(rates) / sum(1 / rate for rate in rates)


async def _ours(servers: Servers, folder: Path, photos: Origin, feeds: str, variants: str) -> Run:
    await asyncio.to_thread(folder.mkdir)
    namespace = a_namespace(servers)
    async with (
        system.running(namespace, feeds, folder, "scheduler", "downloader", variants=variants) as whole,
        mongo.connect(servers.mongo, namespace.db) as database,
    ):
        await whole.publish_listings(photos.records[0])
        await all_recorded(whole, database, PHOTOS)
        measured = len(photos.urls) - PHOTOS
        before, began = cpu.seconds_by_process(whole, servers, photos.host), time.monotonic()
        await whole.publish_listings(*photos.records[1:])
        await all_recorded(whole, database, len(photos.urls))
        seconds = time.monotonic() - began
        return Run(
            measured / seconds, cpu.per_photo(before, cpu.seconds_by_process(whole, servers, photos.host), measured)
        )


async def all_recorded(whole: System, database: mongo.Database, photos: int, seconds: float = 900) -> None:
    """Wait until `photos` photos in `database` are recorded as downloaded; ask with a cheap query every 0.1 s.

    `whole` is the running system that uses `database`. An error is raised after `seconds`.
    """

    async def is_complete() -> bool:
        await asyncio.sleep(0.1)
        sums = {"$group": {"_id": None, "downloaded": {"$sum": "$counts.downloaded"}}}
        rows = await database["listings"].aggregate([sums]).to_list(None)
        return bool(rows) and bool(rows[0]["downloaded"] >= photos)

    await until(is_complete, f"{photos} photos of {whole.namespace.db}", seconds=seconds)


def _in_new_process(work: object, photos: Origin) -> float:
    """Call `work(feeds, urls)` in a new process, and return the number that it returns.

    The CPU time of the new process is then that of `work` alone. `work` is a function that can be pickled. `feeds` is
    the text of a feeds.toml for the origin `photos`, and `urls` are the URLs of the origin's photos.
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
