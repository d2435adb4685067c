"""The resolver's answers per second over 100,000 images, beside a constant answer and one document a photo.

wrk with 32 connections asks, on the same cores; every row's baseline is asked in the same run. At random 4,000 listings
are asked for: within the second for which answers are kept some are asked for again. One row keeps next to none.
"""

import asyncio
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import orjson
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection

from bench.rows import Row
from local import ports
from local.config import PROJECT
from shared.domain.image import url_keys
from shared.domain.listing import Listing
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.documents import to_document
from tests import system
from tests.builders import a_downloaded_photo, a_listing
from tests.listing_writer import a_version, listing_writer
from tests.servers import Namespace, Servers, a_namespace
from tests.system import System
from tests.tools import debian

LISTINGS, PHOTOS, ON_A_PAGE = 4_000, 25, 50
SECONDS, CONNECTIONS = 5, 32
STEADY_PAGES, STEADY_SECONDS = 200, 10
WOKEN = 40
FEED = "sandbox"
FEEDS = f"""
[feeds.{FEED}]
image_hosts = ["127.0.0.1:9"]
allow_private_addresses = true
"""
_CONSTANT, _NAIVE = "a constant answer of the same bytes", "one document a photo, a query a question"


async def run(servers: Servers) -> list[Row]:
    """Measure each kind of question."""
    namespace = a_namespace(servers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await _fill(namespace)
        async with system.running(namespace, FEEDS, folder, "resolver") as ours:
            hot = (await ours.http.get(f"/api/listings/{_key(7)}/images")).content
            assert len(orjson.loads(hot)["images"]) == PHOTOS
            (folder / "constant").write_bytes(hot)
            async with _naive(namespace, folder / "constant") as naive:
                rows = await _rows(ours.url("resolver"), naive, folder)
                async with system.running(namespace, FEEDS, folder, "resolver", resolver_cache_mb=1) as forgetful:
                    rows.append(await _kept_nowhere(forgetful.url("resolver"), naive, folder))
            return [*rows, *await _wakes(namespace, ours)]


async def _rows(ours: str, naive: str, folder: Path) -> list[Row]:
    one = [f"/api/listings/{_key(7)}/images"]
    listings = _every_listing()
    urls = [
        f"/api/images/resolve?url={quote(_url(number, photo), safe='')}"
        for number in range(LISTINGS)
        for photo in range(PHOTOS)
    ]
    pages = [orjson.dumps({"listing_keys": _page()}).decode() for _ in range(2_000)]
    rows = []
    for name, asked, base, against, unit in (
        ("one listing of 25 photos, hot", one, ["/bare"], _CONSTANT, "answers/s"),
        ("listings of 25 photos, at random", listings, listings, _NAIVE, "answers/s"),
        ("search pages of 50 listings, at random", pages, pages, _NAIVE, "pages/s"),
        ("one image by URL, at random", urls, urls, _NAIVE, "answers/s"),
    ):
        rate, baseline = await _by_turns(ours, asked, naive, base, folder)
        rows.append(Row(name, rate, unit, baseline, against))
    rows.append(Row(f"search pages at a steady {STEADY_PAGES}/s, p99", await _p99(ours, pages), "ms", 25.0, "the aim"))
    return rows


async def _kept_nowhere(ours: str, naive: str, folder: Path) -> Row:
    rate, baseline = await _by_turns(ours, _every_listing(), naive, _every_listing(), folder)
    return Row("listings of 25 photos, at random, with a cache of 1 MB", rate, "answers/s", baseline, _NAIVE)


async def _by_turns(
    ours: str, asked: Sequence[str], naive: str, base: Sequence[str], folder: Path
) -> tuple[float, float]:
    """Return the answers per second of our resolver and of the naive one, the better of two measurements each.

    They are measured in turns: the first time warms them up, and the machine's other load varies.
    """
    found: dict[str, list[float]] = {ours: [], naive: []}
    for _ in range(2):
        for server, questions in ((naive, base), (ours, asked)):
            found[server].append(await _wrk(server, questions, folder))
    return max(found[ours]), max(found[naive])


async def _wakes(namespace: Namespace, ours: System) -> list[Row]:
    """How long a waiting visitor waits on after `image-downloaded` is on the topic; nothing else goes on."""
    loop, took = asyncio.get_running_loop(), list[float]()
    async with listing_writer(namespace) as writer:
        for number in range(WOKEN):
            key = f"W{number}"
            listing = await writer.record(key, None)
            waiting = asyncio.create_task(
                ours.http.get(f"{ours.url('resolver')}/api/images/serve?id={listing.photos[0].id}")
            )
            await asyncio.sleep(0.25)
            after = await writer.change(key, copy=a_version(key, number))
            await writer.publish_downloaded(after)
            said_at = loop.time()
            assert (await waiting).status_code == 302
            took.append((loop.time() - said_at) * 1_000)
    name = "from image-downloaded on the topic to the waiting visitor's answer"
    worst = sorted(took)[int(len(took) * 0.99)]
    return [
        Row(f"{name}, median", statistics.median(took), "ms", 50.0, "the aim"),
        Row(f"{name}, p99", worst, "ms", 50.0, "the aim"),
    ]


# What is asked for


def _key(number: int) -> str:
    return f"C{12_000_000 + number}"


def _every_listing() -> Sequence[str]:
    return [f"/api/listings/{_key(number)}/images" for number in range(LISTINGS)]


def _url(number: int, photo: int) -> str:
    return f"https://photos.example.com/{number}/{photo}/{'s' * 40}/rs:fit:1920:1920/photo.jpg"


def _page() -> Sequence[str]:
    return [_key(number) for number in random.sample(range(LISTINGS), ON_A_PAGE)]


def _listing(number: int) -> Listing:
    key = _key(number)
    photos = [
        a_downloaded_photo(
            f"{number}-{photo}", key=key, feed=FEED, caption="A bright room", url=_url(number, photo),
            url_keys=url_keys([_url(number, photo), f"{number}/{photo}/m", f"{number}/{photo}/s"]),
        )
        for photo in range(PHOTOS)
    ]  # fmt: skip
    return a_listing(*photos, key=key, feed=FEED)


async def _fill(namespace: Namespace) -> None:
    """Record the listings as they are, and photo by photo with what a naive answer needs."""
    renderer = Renderer(f"{namespace.servers.s3_endpoint}/{namespace.bucket}")
    plain: AsyncIOMotorCollection[dict[str, object]] = AsyncIOMotorClient(namespace.servers.mongo)[namespace.db][
        "photos"
    ]
    await plain.create_index([("listing_key", 1), ("order", 1)])
    await plain.create_index("url")
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        store = mongo.MongoListings(database, renderer)
        for first in range(0, LISTINGS, 200):
            some = [_listing(number) for number in range(first, first + 200)]
            await store.write(some)
            documents = [
                {"listing_key": one.key, **photo} for one in some for photo in to_document(one, 1, renderer)["photos"]
            ]
            await plain.insert_many(documents)


# Who asks, and who answers beside us


@asynccontextmanager
async def _naive(namespace: Namespace, constant: Path) -> AsyncIterator[str]:
    port = ports.choose(set())
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.naive",
        str(port),
        namespace.servers.mongo,
        namespace.db,
        str(constant),
        cwd=PROJECT,
    )
    try:
        await asyncio.to_thread(_await_port, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while ports.is_free(port) and time.monotonic() < deadline:
        time.sleep(0.05)


async def _wrk(server: str, questions: Sequence[str], folder: Path) -> float:
    """Ask at random, as fast as answers come; return the answers a second. All must be good."""
    file, script = folder / "questions", folder / "questions.lua"
    file.write_text("\n".join(questions))
    script.write_text(_SCRIPT % file)
    wrk = debian("wrk", "wrk", "libluajit-5.1-2", "libluajit2-5.1-2")
    process = await asyncio.create_subprocess_exec(
        wrk.path, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", script, server,
        env={**os.environ, **wrk.env}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert "Non-2xx" not in output, output
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found, output
    return float(found[1])


_SCRIPT = """
local questions = {}
for line in io.lines("%s") do questions[#questions + 1] = line end
math.randomseed(os.time())
request = function()
  local question = questions[math.random(#questions)]
  if question:sub(1, 1) == "/" then return wrk.format("GET", question) end
  return wrk.format("POST", "/api/images/resolve", {["Content-Type"] = "application/json"}, question)
end
"""


async def _p99(server: str, pages: Sequence[str]) -> float:
    """Ask for pages at a steady rate, whether or not earlier ones are answered; return milliseconds."""
    took: list[float] = []
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(server, connector=aiohttp.TCPConnector(limit=0)) as client:

        async def ask(page: str, at: float) -> None:
            headers: Mapping[str, str] = {"Content-Type": "application/json"}
            async with client.post("/api/images/resolve", data=page, headers=headers) as answer:
                assert answer.status == 200
                await answer.read()
            took.append(loop.time() - at)

        begin, asking = loop.time(), []
        for number in range(STEADY_PAGES * STEADY_SECONDS):
            at = begin + number / STEADY_PAGES
            await asyncio.sleep(max(0.0, at - loop.time()))
            asking.append(asyncio.create_task(ask(pages[number % len(pages)], at)))
        await asyncio.gather(*asking)
    return sorted(took)[int(len(took) * 0.99)] * 1_000
