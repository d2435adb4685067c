"""MongoDB takes connections and answers nothing: what is known is answered, the rest refused, all of it in time."""

import asyncio
import dataclasses
from collections.abc import Awaitable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests import system
from tests.proxies import through
from tests.servers import Room
from tests.system import until
from tests.truth import FEEDS, a_version, truth_of

STALE = '110 - "Response is Stale"'
WAIT_SECONDS = 2.0
"""How long `serve` may wait for a photo."""
MOST_SECONDS = 5.0
"""How long an answer may take, beside that."""
HANGS_SECONDS = 8.0


async def in_time(asking: Awaitable[httpx.Response], seconds: float = MOST_SECONDS) -> httpx.Response:
    """Wait for an answer, no longer than it may take."""
    async with asyncio.timeout(seconds + 1):  # for what lies between us
        return await asking


async def test_a_database_that_hangs_is_taken_for_one_that_is_away(room: Room, tmp_path: Path) -> None:
    async with through(urlsplit(room.servers.mongo).netloc) as to_mongo:
        behind = dataclasses.replace(room.servers, mongo=f"mongodb://{to_mongo.address}/?directConnection=true")
        theirs = dataclasses.replace(room, servers=behind)
        async with (
            system.running(theirs, FEEDS, tmp_path, "resolver", serve_wait_seconds=WAIT_SECONDS) as ours,
            truth_of(room) as truth,
        ):
            held, missing = await truth.begin("O1", a_version("O1", 1)), await truth.begin("O2", None)
            known = "/api/listings/O1/images"
            serve, waits = (f"/api/images/serve?id={one.photos[0].id}" for one in (held, missing))
            statuses = [(await ours.http.get(path)).status_code for path in (known, serve, waits)]
            assert statuses == [200, 302, 503]
            to_mongo.fall_silent()
            hangs_until = asyncio.get_running_loop().time() + HANGS_SECONDS
            said_stale = 0

            async def keep_asking(path: str, status: int, seconds: float = MOST_SECONDS) -> None:
                nonlocal said_stale
                while asyncio.get_running_loop().time() < hangs_until:
                    answer = await in_time(ours.http.get(path), seconds)
                    assert answer.status_code == status, (path, answer.text)
                    said_stale += answer.headers.get("Warning") == STALE
                    await asyncio.sleep(0.05)

            await asyncio.gather(
                *(keep_asking(known, 200) for _ in range(4)),
                *(keep_asking(serve, 302) for _ in range(4)),
                *(keep_asking(waits, 503, MOST_SECONDS + WAIT_SECONDS) for _ in range(4)),
                *(keep_asking(f"/api/listings/U{number}/images", 503) for number in range(8)),
                *(keep_asking(f"/api/images/resolve?url=http://u/{number}", 503) for number in range(8)),
                keep_asking("/readyz", 503),
            )
            assert said_stale > 8, "what comes from memory says so"
            to_mongo.mend()

            async def is_well() -> bool:
                answer = await ours.http.get(known)
                unknown = await ours.http.get("/api/listings/U0/images")
                return "Warning" not in answer.headers and (answer.status_code, unknown.status_code) == (200, 404)

            await until(is_well, "answers from the database", seconds=10)
