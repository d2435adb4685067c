"""Test two schedulers: if one is suspended or killed, the other takes over in seconds; no photo is released twice."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from local import ports
from local.sandbox import Sandbox
from tests import system
from tests.servers import Namespace
from tests.system import System, until

LISTINGS, PHOTOS = 30, 10
TAKES_OVER_WITHIN, STANDS_STILL = 15.0, 60.0
# No limits: photos that the origin budget defers are released again, which would hide a double release.
UNLIMITED: dict[str, Any] = {
    "requests_per_second": 0, "batch_pause_seconds": 0, "batch_size": 10, "concurrency": 64, "viewed_reserve": 0.0,
}  # fmt: skip


async def released(scheduler: System) -> float:
    """Return the number of photos that a scheduler has released."""
    text = (await scheduler.http.get(f"{scheduler.url('scheduler')}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("listing_images_released_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def goes_on(scheduler: System) -> float:
    """Wait until the scheduler releases another photo, and return the seconds that this took."""
    before, began = await released(scheduler), monotonic()

    async def more() -> bool:
        return await released(scheduler) > before

    await until(more, "the other scheduler to go on")
    return monotonic() - began


@pytest.mark.timeout(300)
async def test_the_other_scheduler_takes_over_from_a_stopped_or_killed_one(
    namespace: Namespace, tmp_path: Path
) -> None:
    other = replace(namespace, ports={**namespace.ports, "scheduler": ports.choose(set(namespace.ports.values()))})
    async with Sandbox(listings=LISTINGS, photos=PHOTOS, widest=320) as mls:
        feeds = mls.feeds_toml(**UNLIMITED)
        mls.misbehave(kind="slow", delay_seconds=4.0)  # so that photos are still due when the other takes over
        folders = [tmp_path / name for name in ("first", "second")]
        for folder in folders:
            folder.mkdir()
        async with (
            system.running(namespace, feeds, folders[0], "scheduler", "downloader", "resolver") as first,
            system.running(other, feeds, folders[1], "scheduler") as second,
        ):
            keys = list(mls.market.listings)
            earlier, later = keys[: LISTINGS // 2], keys[LISTINGS // 2 :]
            await publish(first, mls, earlier)
            os.kill(first.pid("scheduler"), signal.SIGSTOP)
            stopped = monotonic()
            try:
                assert await goes_on(second) < TAKES_OVER_WITHIN
                await all_downloaded(first, earlier)
                await asyncio.sleep(STANDS_STILL - (monotonic() - stopped))
            finally:
                os.kill(first.pid("scheduler"), signal.SIGCONT)
            # The suspended scheduler continues, and does not know that its lease has ended.
            await publish(first, mls, later)
            await goes_on(second)
            await second.stop("scheduler", signal.SIGKILL)
            assert await goes_on(first) < TAKES_OVER_WITHIN
            await all_downloaded(first, later)
            image_ids = [
                json.loads(record.value)["data"]["image_id"] for record in await first.records("image-outdated")
            ]
            assert set(Counter(image_ids).values()) == {1}
            assert (len(image_ids), mls.image_requests) == (LISTINGS * PHOTOS, LISTINGS * PHOTOS)


async def publish(to: System, mls: Sandbox, keys: Sequence[str]) -> None:
    """Publish the listings and wait until they are recorded."""
    await to.publish_listings(*(mls.market.property(mls.market.listing(key)) for key in keys))

    async def all_known() -> bool:
        return not (await page(to, keys))["unknown"]

    await until(all_known, "the listings")


async def all_downloaded(by: System, keys: Sequence[str]) -> None:
    """Wait until all photos of the listings are downloaded."""

    async def is_complete() -> bool:
        found = (await page(by, keys))["listings"].values()
        downloaded = [image for listing in found for image in listing["images"] if image["status"] == "downloaded"]
        return len(downloaded) == len(keys) * PHOTOS

    await until(is_complete, "all photos")


async def page(of: System, keys: Sequence[str]) -> dict[str, Any]:
    body = {"listing_keys": [*keys], "photos_per_listing": 50}
    return dict((await of.http.post("/api/images/resolve", json=body)).json())
