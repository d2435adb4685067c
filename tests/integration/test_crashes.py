"""Processes die, servers go away: nothing is lost, nothing is fetched that is held already."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from local.sandbox import Sandbox
from tests import system
from tests.servers import Room
from tests.system import System, until


async def here(whole: System, keys: list[str]) -> int:
    """How many photos of the listings are here."""
    body = {"listing_keys": keys, "photos_per_listing": 50}
    listings = (await whole.http.post("/api/images/resolve", json=body)).json()["listings"]
    return sum(image["status"] == "downloaded" for one in listings.values() for image in one["images"])


async def test_a_killed_downloader_loses_nothing(room: Room, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=10, photos=10, widest=320) as mls,
        system.running(room, mls.feeds_toml(), tmp_path) as whole,
    ):
        mls.misbehave(kind="slow", delay_seconds=0.3)
        keys = [str(record["ListingKey"]) for record in mls.properties()]
        await whole.see(*mls.properties())

        async def some() -> bool:
            return await here(whole, keys) >= 15

        async def all_here() -> bool:
            return await here(whole, keys) == 100

        await until(some, "the first downloads")
        assert await whole.stop("downloader", signal.SIGKILL) == -signal.SIGKILL
        left = 100 - await here(whole, keys)
        assert left > 20, "it was killed in the middle of its work"
        await whole.start("downloader")
        await until(all_here, "all 100 downloads")
        said = {event["image_id"] for key in keys for event in await whole.events("image-downloaded", key)}
        assert len(said) == 100
        # What was under way when it died is fetched twice, and nothing else.
        assert mls.image_requests <= 100 + 32


async def test_every_service_drains_and_ends_in_time(room: Room, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=10, photos=4, widest=320) as mls,
        system.running(room, mls.feeds_toml(), tmp_path) as whole,
    ):
        mls.misbehave(kind="slow", delay_seconds=1.0)
        await whole.see(*mls.properties())
        keys = [str(record["ListingKey"]) for record in mls.properties()]

        async def under_way() -> bool:
            return mls.image_requests > 0

        await until(under_way, "the first download")
        for name in ("downloader", "scheduler", "janitor", "resolver"):
            async with asyncio.timeout(10):
                assert await whole.stop(name) == 0, whole.log(name)
            assert json.loads(whole.log(name).splitlines()[-1])["event"] == "stopped"
            assert "Traceback" not in whole.log(name), whole.log(name)
        asked = mls.image_requests
        await whole.start("downloader", "scheduler", "janitor", "resolver")

        async def all_here() -> bool:
            return await here(whole, keys) == 40

        await until(all_here, "all downloads")
        assert mls.image_requests <= 40 + asked


async def test_a_janitor_that_dies_in_the_middle_is_followed_by_one_that_ends_it(room: Room, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=12, photos=4, widest=320) as mls,
        system.running(room, mls.feeds_toml(), tmp_path) as whole,
    ):
        keys = [str(record["ListingKey"]) for record in mls.properties()]
        await whole.see(*mls.properties())

        async def all_here() -> bool:
            return await here(whole, keys) == 48

        await until(all_here, "all downloads")
        urls = [image["url"] for key in keys for image in await whole.images(key)]
        await whole.see(*(mls.withdraw(key) for key in keys))

        async def removed() -> list[dict[str, Any]]:
            return [event for key in keys for event in await whole.events("image-removed", key)]

        await until(removed, "the first removal")
        await whole.stop("janitor", signal.SIGKILL)
        await whole.start("janitor")

        async def all_removed() -> bool:
            return len({event["image_id"] for event in await removed()}) == 48

        await until(all_removed, "all removals")
        assert not any([await whole.opens(url) for url in urls])
