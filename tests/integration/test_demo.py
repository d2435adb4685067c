"""The demo, as a newcomer runs it: the whole system from nothing, in a directory of its own."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from local import plan, stack
from local.plan import PROJECT
from tests.builders import a_record, a_row

pytestmark = [pytest.mark.slow, pytest.mark.servers]
LISTINGS = 6


async def demo(home: Path) -> str:
    """Play the demo to its end; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local.demo", "--listings", str(LISTINGS),
        cwd=PROJECT, env={**os.environ, "LOCAL_DIR": str(home), "COLUMNS": "120"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    return printed


async def publish(home: Path, record: Mapping[str, object]) -> None:
    """Publish a listing to the demo's feed, as README.md shows."""
    (home / "mine.json").write_text(json.dumps(record))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.imagectl", "publish", str(home / "mine.json"), "--feed", "sandbox",
        cwd=PROJECT, env={**os.environ, **plan.last(home)}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Path]:
    """A directory whose processes are stopped at the end."""
    yield tmp_path
    await asyncio.to_thread(stack.down, tmp_path)


async def test_the_demo_goes_through_twice_and_leaves_what_it_says_to_open(home: Path) -> None:
    first = await demo(home)
    photos = LISTINGS * 8
    assert f"{photos} photos here, 0 failed; {photos} requests to the MLS" in first
    assert len(re.findall(r"after [\d.]+ s the listing shows the new picture", first)) == 2
    assert "photos are gone from both buckets" in first
    states = {name: state for name, state, _, _ in await asyncio.to_thread(stack.status, home)}
    assert states == dict.fromkeys([*plan.SERVICES, "kafka", "mongod", "s3"], "ready") | {
        "sandbox": "running", "site": "running",
    }  # fmt: skip
    async with httpx.AsyncClient(trust_env=False) as http:
        opened = {"the gallery": 200, "the desk": 401, "the API's description": 200, "the sandbox MLS": 200}
        for what, status in opened.items():
            (address,) = re.findall(rf"{what}.* (http://\S+)", first)
            assert (await http.get(address, follow_redirects=True)).status_code == status, address
    await publish(home, a_record(a_row("1", MediaURL="https://elsewhere.example.com/1.jpg"), key="X1"))
    # The withdrawn listing is back, with its photos; of the others nothing is fetched again, and for what was given up
    # nobody waits.
    assert f"{photos} photos here, 1 failed; 8 requests to the MLS" in await demo(home)
