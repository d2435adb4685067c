"""Test the resolver while MongoDB hangs: cached answers are served, other requests refused, all in time."""

import asyncio
import dataclasses
from collections.abc import Awaitable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests import system
from tests.listing_writer import FEEDS, a_version, listing_writer
from tests.proxies import proxy_to
from tests.servers import Namespace
from tests.system import System, until

STALE = '110 - "Response is Stale"'
WAIT_SECONDS = 2.0
"""The setting: how long `serve` may wait for a photo."""
MAX_SECONDS = 5.0
"""How long an answer may take, without the waiting of `serve`."""
HANGS_SECONDS = 8.0
OLDEST_SECONDS = 30.0
"""The greatest age of a cached answer in an outage. The entries were read before the outage began."""


async def in_time(asking: Awaitable[httpx.Response], seconds: float = MAX_SECONDS) -> httpx.Response:
    """Return an answer; fail if it takes longer than `seconds`."""
    async with asyncio.timeout(seconds + 1):  # the client takes time too
        return await asking


def ask(ours: System, question: str) -> Awaitable[httpx.Response]:
    """Return the request for a path, or for a page of search results with one ListingKey."""
    if question.startswith("/"):
        return ours.http.get(question)
    return ours.http.post("/api/images/resolve", json={"listing_keys": [question]})


async def served_for(ours: System, question: str, status: int) -> float:
    """Repeat a request until it gets 503. Return the loop's time of the last request that got a stale answer."""
    last = 0.0
    while True:
        asked_at = asyncio.get_running_loop().time()
        answer = await in_time(ask(ours, question))
        if answer.status_code != status:
            assert (answer.status_code, answer.headers["Cache-Control"]) == (503, "no-store"), answer.text
            assert int(answer.headers["Retry-After"]) >= 1
            assert "Warning" not in answer.headers
            return last
        assert answer.headers["Warning"] == STALE
        last = asked_at
        await asyncio.sleep(0.1)


async def test_a_database_that_hangs_counts_as_unavailable(namespace: Namespace, tmp_path: Path) -> None:
    async with proxy_to(urlsplit(namespace.servers.mongo).netloc) as to_mongo:
        behind = dataclasses.replace(namespace.servers, mongo=f"mongodb://{to_mongo.address}/?directConnection=true")
        theirs = dataclasses.replace(namespace, servers=behind)
        async with (
            system.running(theirs, FEEDS, tmp_path, "resolver", serve_wait_seconds=WAIT_SECONDS) as ours,
            listing_writer(namespace) as writer,
        ):
            held, missing = await writer.record("O1", a_version("O1", 1)), await writer.record("O2", None)
            listing_path = "/api/listings/O1/images"
            serve, waits = (f"/api/images/serve?id={listing.photos[0].id}" for listing in (held, missing))
            assert (await ours.http.get(waits)).status_code == 503
            kept_since = asyncio.get_running_loop().time()
            assert [(await ask(ours, question)).status_code for question in (listing_path, "O1", serve)] == [
                200,
                200,
                302,
            ]
            to_mongo.fall_silent()
            silent_since = asyncio.get_running_loop().time()
            hangs_until = silent_since + HANGS_SECONDS
            said_stale = 0

            async def keep_asking(question: str, status: int, seconds: float = MAX_SECONDS) -> None:
                nonlocal said_stale
                while asyncio.get_running_loop().time() < hangs_until:
                    answer = await in_time(ask(ours, question), seconds)
                    assert answer.status_code == status, (question, answer.text)
                    said_stale += answer.headers.get("Warning") == STALE
                    await asyncio.sleep(0.05)

            await asyncio.gather(
                *(keep_asking(listing_path, 200) for _ in range(4)),
                *(keep_asking("O1", 200) for _ in range(4)),
                *(keep_asking(serve, 302) for _ in range(4)),
                *(keep_asking(waits, 503, MAX_SECONDS + WAIT_SECONDS) for _ in range(4)),
                *(keep_asking(f"/api/listings/U{number}/images", 503) for number in range(8)),
                *(keep_asking(f"U{number}", 503) for number in range(8)),
                *(keep_asking(f"/api/images/resolve?url=http://u/{number}", 503) for number in range(8)),
                keep_asking("/readyz", 503),
            )
            assert said_stale > 8, "what comes from memory says so"
            for last in await asyncio.gather(
                served_for(ours, listing_path, 200), served_for(ours, "O1", 200), served_for(ours, serve, 302)
            ):
                assert kept_since + OLDEST_SECONDS - 5 < last < silent_since + OLDEST_SECONDS
            to_mongo.restore()

            async def is_well() -> bool:
                answer = await ours.http.get(listing_path)
                unknown = await ours.http.get("/api/listings/U0/images")
                return "Warning" not in answer.headers and (answer.status_code, unknown.status_code) == (200, 404)

            await until(is_well, "answers from the database", seconds=10)
