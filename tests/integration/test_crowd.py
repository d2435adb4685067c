"""A crowd before one cold image, with the real services: all wait, and it costs one event and one download."""

import asyncio
import re
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from local.sandbox import Sandbox
from tests import system
from tests.servers import Namespace
from tests.system import System, until

VIEWERS = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1_000)
"""Each takes a connection of this process and one of the resolver's."""
WAIT_SECONDS = 60
"""As long as a resolver may let its visitors wait: the downloader is not even started when they come."""


@pytest.fixture
def _many_connections() -> Iterator[None]:
    """Let this process and those that it starts have as many as the machine allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def metric(ours: System, name: str) -> float:
    """Return what the resolver counts."""
    text = (await ours.http.get("/metrics")).text
    return float(re.findall(rf"^{name} (.+)$", text, re.MULTILINE)[0])


@pytest.mark.usefixtures("_many_connections")
async def test_a_crowd_before_one_cold_image_costs_one_event_and_one_download(
    namespace: Namespace, mls: Sandbox, key: str, tmp_path: Path
) -> None:
    services = ("janitor", "resolver")  # who records listings and who answers: of itself nothing is due
    async with (
        system.running(namespace, mls.feeds_toml(), tmp_path, *services, serve_wait_seconds=WAIT_SECONDS) as ours,
        aiohttp.ClientSession(ours.url("resolver"), connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        await ours.publish_listings(mls.market.property(mls.market.listing(key)))
        images = await until(lambda: ours.images(key, context="search"), f"{key} to be recorded")

        async def view() -> tuple[int, str]:
            path = f"/api/images/serve?id={images[0]['id']}"
            async with http.get(path, allow_redirects=False) as answer:
                return answer.status, answer.headers.get("Location", "")

        viewing = [asyncio.create_task(view()) for _ in range(VIEWERS)]

        async def all_wait() -> bool:
            return await metric(ours, "listing_images_waiters") == VIEWERS

        await until(all_wait, f"{VIEWERS} viewers to wait")
        await ours.start("downloader")
        answers = Counter(await asyncio.gather(*viewing))
        shown = (await ours.images(key, context="search"))[0]
        assert answers == {(302, shown["url"]): VIEWERS}
        (event,) = await ours.events("image-outdated.viewed", key)
        assert (event["image_id"], event["priority"]) == (images[0]["id"], "viewed")
        assert mls.begun[key] == 1, "downloads"
        assert await metric(ours, "listing_images_demand_dropped_total") == 0
