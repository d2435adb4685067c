"""Measures a downloader's memory over thousands of photos, and an encoder's memory for a photo of 24 megapixels."""

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
from PIL import Image

from bench import origin
from bench.photos import all_recorded
from bench.rows import Row
from services.downloader.encoders import Encoders
from shared.domain.variants import parse_variants
from shared.stores import mongo
from tests import system
from tests.servers import Servers, a_namespace

LISTINGS, PHOTOS, WIDTH, STEP = 200, 25, 240, 1_000
VARIANTS = "thumb=320:webp:75,card=800:webp:78,full=1600:webp:80"
SIDES = (6_000, 4_000)


async def run(servers: Servers) -> list[Row]:
    """Measure the memory of a downloader over time, and of an encoder for a large photo; return the rows of the table.

    The downloader's photos are small, because a leak would grow with the number of photos, not with their size.
    """
    with tempfile.TemporaryDirectory() as name:
        return [*await _over_time(servers, Path(name)), *await _largest(Path(name))]


async def _over_time(servers: Servers, folder: Path) -> list[Row]:
    rows: list[Row] = []
    namespace = a_namespace(servers)
    async with (
        origin.serving(folder / "origin", listings=LISTINGS, photos=PHOTOS, width=WIDTH) as photos,
        system.running(namespace, photos.feeds_toml(), folder, "scheduler", "downloader") as whole,
        mongo.connect(servers.mongo, namespace.db) as database,
    ):
        downloader = psutil.Process(whole.pid("downloader"))
        await whole.publish_listings(*photos.records)
        for done in range(STEP, LISTINGS * PHOTOS + 1, STEP):
            await all_recorded(whole, database, done)
            rows.append(
                Row(f"memory of the downloader without its encoders, after {done:,} photos", _rss(downloader), "MB")
            )
    grown = rows[-1].value - rows[0].value
    return [*rows, Row(f"growth of that memory over the last {LISTINGS * PHOTOS - STEP:,} photos", grown, "MB")]


async def _largest(folder: Path) -> list[Row]:
    """Return a row for each of five image formats: the peak memory in MB of a child process that encodes a photo in it.

    A photo of 24 megapixels is drawn into `folder` in each format; `folder` also gets the encoded variants.
    """
    rows: list[Row] = []
    for image_format in ("JPEG", "PNG", "WEBP", "GIF", "AVIF"):
        source = folder / f"large.{image_format.lower()}"
        Image.effect_noise((600, 400), 40).convert("RGB").resize(SIDES).save(source, image_format, quality=85, speed=9)
        async with Encoders(2) as encoders:
            work = asyncio.create_task(encoders.encode(source, folder, parse_variants(VARIANTS), 60_000_000))
            peak = 0.0
            while not work.done():
                peak = max([peak, *(_rss(child) for child in psutil.Process().children())])
                await asyncio.sleep(0.005)
            made = work.result()
        rows.append(
            Row(f"peak memory of an encoder, {image_format} of 24 megapixels ({type(made).__name__})", peak, "MB")
        )
    return rows


def _rss(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        return float(process.memory_info().rss) / 1e6
    return 0.0
