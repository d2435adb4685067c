"""Two schedulers: one stands still or dies, the other goes on in seconds, and nothing is released twice."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from local import ports
from local.sandbox import Sandbox
from tests import system
from tests.servers import Room
from tests.system import System, until

PHOTOS, TAKES_OVER_WITHIN = 150, 15.0
# No limits: what a budget puts back is rightly released again, and would hide what two schedulers do wrong.
UNLIMITED: dict[str, Any] = {
    "requests_per_second": 0, "batch_pause_seconds": 0, "batch_size": 10, "concurrency": 64, "viewed_reserve": 0.0,
}  # fmt: skip


async def released(scheduler: System) -> float:
    """How many photos this process has released."""
    text = (await scheduler.http.get(f"{scheduler.url('scheduler')}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("listing_images_released_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def goes_on(scheduler: System) -> float:
    """Wait until the scheduler releases more; return the seconds that it took."""
    before, began = await released(scheduler), monotonic()

    async def more() -> bool:
        return await released(scheduler) > before

    await until(more, "the other scheduler to go on")
    return monotonic() - began


async def test_a_scheduler_that_stands_still_or_dies_is_followed_by_the_other(room: Room, tmp_path: Path) -> None:
    other = replace(room, ports={**room.ports, "scheduler": ports.choose(set(room.ports.values()))})
    async with Sandbox(listings=15, photos=10, widest=320) as mls:
        feeds = mls.feeds_toml(**UNLIMITED)
        mls.misbehave(kind="slow", delay_seconds=4.0)  # so that there is work until the end
        folders = [tmp_path / name for name in ("first", "second")]
        for folder in folders:
            folder.mkdir()
        async with (
            system.running(room, feeds, folders[0], "scheduler", "downloader", "resolver") as first,
            system.running(other, feeds, folders[1], "scheduler") as second,
        ):
            keys = list(mls.market.listings)
            await first.see(*mls.properties())

            async def all_known() -> bool:
                answer = await first.http.post("/api/images/resolve", json={"listing_keys": keys})
                return bool(answer.json()["unknown"] == [])

            await until(all_known, "the listings")
            os.kill(first.pid("scheduler"), signal.SIGSTOP)
            try:
                assert await goes_on(second) < TAKES_OVER_WITHIN
            finally:
                os.kill(first.pid("scheduler"), signal.SIGCONT)
            await second.stop("scheduler", signal.SIGKILL)
            assert await goes_on(first) < TAKES_OVER_WITHIN

            async def all_here() -> bool:
                body = {"listing_keys": keys, "photos_per_listing": 50}
                found = (await first.http.post("/api/images/resolve", json=body)).json()["listings"].values()
                here = [image for one in found for image in one["images"] if image["status"] == "downloaded"]
                return len(here) == PHOTOS

            await until(all_here, "all photos")
            said = [json.loads(record.value)["data"]["image_id"] for record in await first.records("image-outdated")]
            assert set(Counter(said).values()) == {1}
            assert (len(said), mls.image_requests) == (PHOTOS, PHOTOS)
