"""Test many requests for an image without a copy: all wait for one event and one download."""

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
"""The number of requests. Each uses a connection of this process and a connection of the resolver."""
WAIT_SECONDS = 60
"""The longest wait that the resolver allows: the downloader starts only after the requests have arrived."""


@pytest.fixture
def _many_connections() -> Iterator[None]:
    """Raise the limit of open files for this process and those that it starts to the machine's maximum."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def metric(ours: System, name: str) -> float:
    """Return the value of a metric of the resolver."""
    text = (await ours.http.get("/metrics")).text
    return float(re.findall(rf"^{name} (.+)$", text, re.MULTILINE)[0])


@pytest.mark.usefixtures("_many_connections")
async def test_many_requests_for_an_image_without_a_copy_cost_one_event_and_one_download(
    namespace: Namespace, mls: Sandbox, key: str, tmp_path: Path
) -> None:
    services = (
        "janitor",
        "resolver",
    )  # the janitor records listings, the resolver answers; without a scheduler nothing is released
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
