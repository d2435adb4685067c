"""Test SIGTERM while a server hangs: each service stops in the time that README.md states."""

import asyncio
import dataclasses
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.config import SERVICES
from local.sandbox import Sandbox
from tests import system
from tests.proxies import proxy_to
from tests.servers import Namespace

MOST_SECONDS = 10.0


@pytest.mark.parametrize("hangs", ["mongodb", "s3"])
@pytest.mark.parametrize("silent_seconds", [0.0, 6.0])
async def test_a_service_stops_in_time_although_a_server_hangs(
    namespace: Namespace, mls: Sandbox, key: str, tmp_path: Path, hangs: str, silent_seconds: float
) -> None:
    servers, loop = namespace.servers, asyncio.get_running_loop()
    there = servers.mongo if hangs == "mongodb" else servers.s3_endpoint
    async with proxy_to(urlsplit(there).netloc) as proxy:
        if hangs == "mongodb":
            behind = dataclasses.replace(servers, mongo=f"mongodb://{proxy.address}/?directConnection=true")
        else:
            behind = dataclasses.replace(servers, s3_endpoint=f"http://{proxy.address}")
        theirs = dataclasses.replace(namespace, servers=behind)
        async with system.running(theirs, mls.feeds_toml(), tmp_path, *SERVICES) as whole:
            proxy.fall_silent()
            await whole.publish_listings(mls.market.property(mls.market.listing(key)))
            await asyncio.sleep(silent_seconds)

            async def end(name: str) -> tuple[int, float]:
                told_at = loop.time()
                return await whole.stop(name), loop.time() - told_at

            ends = dict(zip(SERVICES, await asyncio.gather(*map(end, SERVICES)), strict=True))
            logs = {name: whole.log(name)[-2_000:] for name in SERVICES}
    assert {name: code for name, (code, _) in ends.items()} == dict.fromkeys(SERVICES, 0), logs
    assert max(seconds for _, seconds in ends.values()) < MOST_SECONDS, ends
