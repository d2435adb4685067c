"""Two schedulers: one stands still or dies, the other goes on in seconds, and nothing is released twice."""

import json
import os
import signal
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import monotonic

from local import ports
from local.sandbox import Sandbox
from tests import system
from tests.servers import Room
from tests.system import System, until

PHOTOS, TAKES_OVER_WITHIN, TOGETHER_MS = 150, 15.0, 150


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
        feeds = mls.feeds_toml(requests_per_second=12.0, batch_size=5, concurrency=8, viewed_reserve=0.0)
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
            # A photo may be released again after its share of the budget was put back, never while it is on its way.
            said: dict[str, list[int]] = defaultdict(list)
            for record in await first.records("image-outdated"):
                said[json.loads(record.value)["data"]["image_id"]].append(record.timestamp)
            gaps = [after - before for times in said.values() for before, after in pairwise(sorted(times))]
            assert min(gaps, default=TOGETHER_MS) >= TOGETHER_MS
            assert (len(said), mls.image_requests) == (PHOTOS, PHOTOS)
