"""Photos per second from listing to local URL, beside the same fetching and encoding in plain Pillow on all cores.

The memory of each service, its children included, is the most that was seen meanwhile.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import httpx
import psutil
from PIL import Image, ImageOps

from bench.rows import Row
from local.plan import SERVICES
from local.sandbox import Sandbox
from tests import system
from tests.servers import Servers, a_room
from tests.system import System, until

LISTINGS, PHOTOS, WIDEST = 40, 8, 1920


async def run(servers: Servers) -> list[Row]:
    """Measure; the pictures are drawn before, and both sides fetch them from the same server."""
    with tempfile.TemporaryDirectory() as folder:
        async with Sandbox(listings=LISTINGS, photos=PHOTOS, widest=WIDEST) as mls:
            await mls.draw_ahead()
            urls = [
                row["MediaURL"]
                for record in mls.properties()
                for row in record["Media"]  # type: ignore[attr-defined]
                if row["ImageSizeDescription"] == "Largest"
            ]
            plain = await asyncio.to_thread(_plainly, urls)
            async with system.running(a_room(servers), mls.feeds_toml(), Path(folder)) as whole:
                ours, memory = await _through(whole, mls)
    rate = Row("photos, end to end", len(urls) / ours, "photos/s", len(urls) / plain, "plain Pillow, all cores")
    return [rate, *(Row(f"memory of {name}", most, "MB") for name, most in memory.items())]


async def _through(whole: System, mls: Sandbox) -> tuple[float, dict[str, float]]:
    """Return the seconds until every photo is served, and the most memory that each service took meanwhile."""
    keys = [str(record["ListingKey"]) for record in mls.properties()]
    memory = dict.fromkeys(SERVICES, 0.0)

    async def all_here() -> bool:
        for name in memory:
            memory[name] = max(memory[name], _memory(whole.pid(name)))
        await asyncio.sleep(0.5)
        body = {"listing_keys": keys, "photos_per_listing": PHOTOS}
        listings = (await whole.http.post("/api/images/resolve", json=body)).json()["listings"]
        here = sum(image["status"] == "downloaded" for one in listings.values() for image in one["images"])
        return bool(here == LISTINGS * PHOTOS)

    began = time.monotonic()
    await whole.see(*mls.properties())
    await until(all_here, "all photos", seconds=600)
    return time.monotonic() - began, memory


def _memory(pid: int) -> float:
    process, total = psutil.Process(pid), 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total / 1e6


def _plainly(urls: Sequence[str]) -> float:
    """Return the seconds that a script takes which does only this, on every core."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_warm, range(os.cpu_count() or 1)))
        began = time.monotonic()
        list(pool.map(_fetch_and_encode, urls, chunksize=4))
        return time.monotonic() - began


def _warm(_: int) -> None:
    Image.init()


def _fetch_and_encode(url: str) -> None:
    """Do what a first version would: fetch, turn upright, write three sizes as WebP as we do."""
    with Image.open(BytesIO(httpx.get(url).content)) as image:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    for width, quality in ((1600, 80), (800, 78), (320, 75)):
        picture.thumbnail((width, 10_000), Image.Resampling.LANCZOS)
        picture.save(BytesIO(), "WEBP", quality=quality, method=2)
