"""Measures how long the desk's first page takes with 100,000 listings of 25 photos and 100,000 attempts in an hour.

LISTINGS=5000 makes it a quick run.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import psutil

from bench import scale
from bench.rows import Row
from shared.clock import utc_now
from shared.domain.failures import Reason
from shared.stores import mongo
from shared.stores.attempts import Attempt
from shared.stores.documents import Document
from shared.stores.mongo import Database
from tests import system
from tests.builders import FEED
from tests.servers import DESK_TOKEN, Servers, a_namespace
from tests.system import System

ATTEMPTS, LOOKS, PLAIN = scale.LISTINGS, 8, 3
FRESH_SECONDS = 4.2
"""The desk takes a new watch for a request after this time, and answers earlier requests from the last watch."""
FEEDS = f"""
[feeds.{FEED}]
image_hosts = ["127.0.0.1:9"]
allow_private_addresses = true
"""
_PLAIN = "the listings' photos counted by one aggregation"


async def run(servers: Servers) -> list[Row]:
    """Measure how long the desk takes for its first page after its start, and for refreshes.

    Return the table's rows.
    """
    namespace = a_namespace(servers)
    with tempfile.TemporaryDirectory() as folder:
        async with mongo.connect(servers.mongo, namespace.db, call_seconds=3_600.0) as database:
            await scale.load(database)
            await _insert_attempts(database)
            try:
                plain = [await _plain(database) for _ in range(PLAIN)]
                async with system.running(namespace, FEEDS, Path(folder), "desk") as whole:
                    return await _rows(whole, statistics.median(plain))
            finally:
                await database.client.drop_database(namespace.db)


async def _rows(whole: System, plain: float) -> list[Row]:
    process = psutil.Process(whole.pid("desk"))
    headers = {"Authorization": f"Bearer {DESK_TOKEN}", "Accept": "text/html"}
    async with httpx.AsyncClient(base_url=whole.url("desk"), headers=headers, trust_env=False, timeout=120) as browser:
        first = await _request_milliseconds(browser, "/")
        refreshed, repeated, cpu_seconds = [], [], process.cpu_times().user
        for _ in range(LOOKS):
            await asyncio.sleep(FRESH_SECONDS)
            refreshed.append(await _request_milliseconds(browser, "/live"))
            repeated.append(await _request_milliseconds(browser, "/live"))
        cpu_seconds = (process.cpu_times().user - cpu_seconds) / (2 * LOOKS)
    size = f"{scale.LISTINGS:,} listings"
    return [
        Row(f"the desk's first page, {size} and {ATTEMPTS:,} attempts in the hour", first, "ms", plain, _PLAIN),
        *scale.spread("a refresh that takes a new watch", refreshed, plain, _PLAIN),
        *scale.spread("a refresh within four seconds of a watch", repeated),
        Row("  of a refresh, the desk's own CPU", cpu_seconds * 1000, "ms"),
    ]


async def _request_milliseconds(browser: httpx.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    answer = await browser.get(path)
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, answer.text
    assert f"{scale.LISTINGS:,}" in answer.text
    return took


async def _plain(database: Database) -> float:
    """Return the milliseconds of the baseline: count photos by status and display with one aggregation in MongoDB."""
    began = time.perf_counter()
    pipeline: list[Document] = [
        {"$match": {"feed": FEED}},
        {"$unwind": "$photos"},
        {"$group": {"_id": {"status": "$photos.status", "displayed": "$displayed"}, "photos": {"$sum": 1}}},
    ]
    found = await database["listings"].aggregate(pipeline).to_list(None)
    assert sum(group["photos"] for group in found) == scale.LISTINGS * scale.PHOTOS, found
    return (time.perf_counter() - began) * 1000


async def _insert_attempts(database: Database) -> None:
    """Insert an attempt for each listing, at times spread over the last hour, and create all indexes.

    One in ten of the attempts failed.
    """
    now = utc_now()
    for first in range(0, ATTEMPTS, 1_000):
        await database["attempts"].insert_many(
            _attempts(range(first, min(first + 1_000, ATTEMPTS)), now), ordered=False
        )
    await mongo.apply_indexes(database)


def _attempts(numbers: Sequence[int], now: datetime) -> list[Document]:
    hour = timedelta(hours=1)
    return [
        asdict(
            Attempt(
                image_id=f"{number:032x}", feed=FEED, listing_key=f"W{number}", at=now - hour * (number / ATTEMPTS),
                result="downloaded" if number % 10 else Reason.TIMEOUT.value, detail="", milliseconds=200,
            )
        )
        for number in numbers
    ]  # fmt: skip
