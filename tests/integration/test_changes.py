"""Test two of each service under many visitors while listings change: no change is lost or late."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from local.config import SERVICES
from local.sandbox import Sandbox
from tests import system
from tests.integration.test_crashes import recorded, stored
from tests.integration.test_disorder import change, matches_mls
from tests.servers import Namespace
from tests.system import System, until

SECOND = ("downloader-2", "scheduler-2", "janitor-2", "resolver-2")
ROUNDS, CHANGES, VISITORS = 6, 20, 4
REST_SECONDS = 60.0
"""Half the time of a lease: a lost change would appear only when a lease ends."""
REMOVED_SECONDS = 30.0


@pytest.mark.timeout(300)
async def test_changes_during_many_requests_are_soon_answered_as_the_mls_has_them(
    namespace: Namespace, tmp_path: Path
) -> None:
    chance = random.Random(7)
    async with (
        Sandbox(listings=20, photos=6, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(), tmp_path) as whole,
    ):
        await whole.start(*SECOND)
        async with a_crowd(whole, list(mls.market.listings), chance):
            await whole.publish_listings(*mls.properties())
            for _ in range(ROUNDS):
                await whole.publish_listings(*(change(mls, chance) for _ in range(CHANGES)))
                await whole.wait_until_read()
                await matches_mls(whole, mls, REST_SECONDS)

        async def nothing_else_is_held() -> bool:
            return await stored(whole) == recorded(await whole.listings())

        await until(nothing_else_is_held, "what nothing shows to be removed", REMOVED_SECONDS)
        for name in (*SERVICES, *SECOND):
            assert "lease-expired" not in whole.log(name), name
            assert "Traceback" not in whole.log(name), name


@asynccontextmanager
async def a_crowd(whole: System, keys: list[str], chance: random.Random) -> AsyncIterator[None]:
    """Let visitors request search pages, listings and photos during the context."""

    async def visit() -> None:
        while True:
            page = {"listing_keys": chance.sample(keys, 12), "photos_per_listing": 50}
            context = {"context": chance.choice(["search", "view"])}
            resolver = whole.url(chance.choice(["resolver", "resolver-2"]))
            await whole.http.post(f"{resolver}/api/images/resolve", json=page | context)
            images = await whole.images(chance.choice(keys))
            for image in images[:1]:
                await whole.http.get("/api/images/serve", params={"id": image["id"]})
            await asyncio.sleep(0.01)

    visitors = [asyncio.create_task(visit()) for _ in range(VISITORS)]
    try:
        yield
    finally:
        for visitor in visitors:
            visitor.cancel()
        ends = await asyncio.gather(*visitors, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
