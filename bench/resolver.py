"""Measures how many requests a second the resolver answers, with 100,000 images recorded.

wrk sends requests over 32 connections, on the same cores. Each row is compared with a baseline that is measured in the
same run: a constant answer, or a naive design with one document for each photo. "At random" means among 4,000 listings;
some are requested again within the second for which answers are cached. One row has a cache too small for that.
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
from motor.motor_asyncio import AsyncIOMotorClient

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

LISTINGS, PHOTOS, PAGE_SIZE = 4_000, 25, 50
SECONDS, CONNECTIONS = 5, 32
STEADY_PAGES, STEADY_SECONDS = 200, 10
"""How many search pages are requested in a second, and for how many seconds."""
WAITS = 40
"""How many waits for a download are measured."""
FEED = "sandbox"
FEEDS = f"""
[feeds.{FEED}]
image_hosts = ["127.0.0.1:9"]
allow_private_addresses = true
"""
_CONSTANT, _NAIVE = "a constant answer of the same bytes", "one document a photo, a query a question"


async def run(servers: Servers) -> list[Row]:
    """Measure the resolver's answers to each kind of request, and waits for a download; return the table's rows."""
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
                async with system.running(namespace, FEEDS, folder, "resolver", resolver_cache_mb=1) as small:
                    rows.append(await _small_cache(small.url("resolver"), naive, folder))
            return [*rows, *await _wake_times(namespace, ours)]


async def _rows(ours: str, naive: str, folder: Path) -> list[Row]:
    hot = [f"/api/listings/{_key(7)}/images"]
    listings = _every_listing()
    urls = [
        f"/api/images/resolve?url={quote(_url(number, photo), safe='')}"
        for number in range(LISTINGS)
        for photo in range(PHOTOS)
    ]
    pages = [orjson.dumps({"listing_keys": _page()}).decode() for _ in range(2_000)]
    rows = []
    for name, requests, baseline_requests, against, unit in (
        ("one listing of 25 photos, hot", hot, ["/bare"], _CONSTANT, "answers/s"),
        ("listings of 25 photos, at random", listings, listings, _NAIVE, "answers/s"),
        ("search pages of 50 listings, at random", pages, pages, _NAIVE, "pages/s"),
        ("one image by URL, at random", urls, urls, _NAIVE, "answers/s"),
    ):
        rate, baseline = await _in_turns(ours, requests, naive, baseline_requests, folder)
        rows.append(Row(name, rate, unit, baseline, against))
    rows.append(Row(f"search pages at a steady {STEADY_PAGES}/s, p99", await _p99(ours, pages), "ms", 25.0, "the aim"))
    return rows


async def _small_cache(ours: str, naive: str, folder: Path) -> Row:
    rate, baseline = await _in_turns(ours, _every_listing(), naive, _every_listing(), folder)
    return Row("listings of 25 photos, at random, with a cache of 1 MB", rate, "answers/s", baseline, _NAIVE)


async def _in_turns(
    ours: str, requests: Sequence[str], naive: str, naive_requests: Sequence[str], folder: Path
) -> tuple[float, float]:
    """Return the answers per second of our resolver, and of the naive server: the better of two measurements each.

    `ours` and `naive` are the servers' addresses. `requests` and `naive_requests` are the requests to each, as in
    `_wrk`. `folder` gets files of wrk. The servers are measured in turns, because the first measurement warms each up,
    and the machine's other load varies.
    """
    rates: dict[str, list[float]] = {ours: [], naive: []}
    for _ in range(2):
        for server, server_requests in ((naive, naive_requests), (ours, requests)):
            rates[server].append(await _wrk(server, server_requests, folder))
    return max(rates[ours]), max(rates[naive])


async def _wake_times(namespace: Namespace, ours: System) -> list[Row]:
    """Measure how long after `image-downloaded` is published a waiting visitor gets the answer, without other load.

    Return rows for the median and the 99th percentile in ms.
    """
    loop, milliseconds = asyncio.get_running_loop(), list[float]()
    async with listing_writer(namespace) as writer:
        for number in range(WAITS):
            key = f"W{number}"
            listing = await writer.record(key, None)
            waiting = asyncio.create_task(
                ours.http.get(f"{ours.url('resolver')}/api/images/serve?id={listing.photos[0].id}")
            )
            await asyncio.sleep(0.25)
            after = await writer.change(key, copy=a_version(key, number))
            await writer.publish_downloaded(after)
            published_at = loop.time()
            assert (await waiting).status_code == 302
            milliseconds.append((loop.time() - published_at) * 1_000)
    name = "from image-downloaded on the topic to the waiting visitor's answer"
    p99 = sorted(milliseconds)[int(len(milliseconds) * 0.99)]
    return [
        Row(f"{name}, median", statistics.median(milliseconds), "ms", 50.0, "the aim"),
        Row(f"{name}, p99", p99, "ms", 50.0, "the aim"),
    ]


# Listings and requests


def _key(number: int) -> str:
    return f"C{12_000_000 + number}"


def _every_listing() -> Sequence[str]:
    return [f"/api/listings/{_key(number)}/images" for number in range(LISTINGS)]


def _url(number: int, photo: int) -> str:
    return f"https://photos.example.com/{number}/{photo}/{'s' * 40}/rs:fit:1920:1920/photo.jpg"


def _page() -> Sequence[str]:
    return [_key(number) for number in random.sample(range(LISTINGS), PAGE_SIZE)]


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
    """Write the listings for the resolver, and a document for each photo for the naive server."""
    renderer = Renderer(f"{namespace.servers.s3_endpoint}/{namespace.bucket}")
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(namespace.servers.mongo)
    photos = client[namespace.db]["photos"]
    await photos.create_index([("listing_key", 1), ("order", 1)])
    await photos.create_index("url")
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        store = mongo.MongoListings(database, renderer)
        for first in range(0, LISTINGS, 200):
            listings = [_listing(number) for number in range(first, first + 200)]
            await store.write(listings)
            documents = [
                {"listing_key": listing.key, **photo}
                for listing in listings
                for photo in to_document(listing, 1, renderer)["photos"]
            ]
            await photos.insert_many(documents)


# The naive server, and the clients


@asynccontextmanager
async def _naive(namespace: Namespace, constant: Path) -> AsyncIterator[str]:
    """Run the server of `bench.naive` on the namespace's database during the context, and yield its address.

    `constant` is the file with the bytes that the server answers to `/bare`.
    """
    port = ports.choose(set())
    command = ["-m", "bench.naive", str(port), namespace.servers.mongo, namespace.db, str(constant)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=PROJECT)
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


async def _wrk(server: str, requests: Sequence[str], folder: Path) -> float:
    """Send requests to a server in random order for some seconds; return how many answers came a second.

    A request is the path of a GET, or the body of a POST for a search page. Every answer must be 2xx or 3xx. `folder`
    gets the files that wrk reads.
    """
    file, script = folder / "requests", folder / "requests.lua"
    file.write_text("\n".join(requests))
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
local requests = {}
for line in io.lines("%s") do requests[#requests + 1] = line end
math.randomseed(os.time())
request = function()
  local chosen = requests[math.random(#requests)]
  if chosen:sub(1, 1) == "/" then return wrk.format("GET", chosen) end
  return wrk.format("POST", "/api/images/resolve", {["Content-Type"] = "application/json"}, chosen)
end
"""


async def _p99(server: str, pages: Sequence[str]) -> float:
    """Return the 99th percentile, in ms, of the times in which a server answers search pages at a steady rate.

    `pages` are the bodies of the requests, which are sent in turn. No request waits for the answer to another. Each
    time is measured from the moment at which the steady rate wants the request sent.
    """
    seconds: list[float] = []
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(server, connector=aiohttp.TCPConnector(limit=0)) as client:

        async def request(page: str, at: float) -> None:
            headers: Mapping[str, str] = {"Content-Type": "application/json"}
            async with client.post("/api/images/resolve", data=page, headers=headers) as answer:
                assert answer.status == 200
                await answer.read()
            seconds.append(loop.time() - at)

        begin, requests = loop.time(), []
        for number in range(STEADY_PAGES * STEADY_SECONDS):
            at = begin + number / STEADY_PAGES
            await asyncio.sleep(max(0.0, at - loop.time()))
            requests.append(asyncio.create_task(request(pages[number % len(pages)], at)))
        await asyncio.gather(*requests)
    return sorted(seconds)[int(len(seconds) * 0.99)] * 1_000
