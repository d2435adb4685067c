"""Test two resolvers: each reads every event, and a new one is ready only once it reads events."""

import asyncio
import dataclasses
import statistics
from pathlib import Path

import httpx

from tests import system
from tests.listing_writer import FEEDS, ListingWriter, a_version, listing_writer
from tests.proxies import proxy_to
from tests.servers import Namespace
from tests.system import System, until

ROUNDS = 5
AT_ONCE_SECONDS = 0.3
"""The longest delay with the event. Without the event, a change appears after half a second to a second."""


async def shown(ours: System, name: str, key: str) -> str:
    """Return the URL of a listing's photo from the resolver of this name."""
    answer = await ours.http.get(f"{ours.url(name)}/api/listings/{key}/images")
    return str(answer.json()["images"][0]["url"])


async def seconds_until_shown(ours: System, writer: ListingWriter, key: str, version: int, *names: str) -> list[float]:
    """Change a photo, publish the event, and return the seconds until each resolver answers with the new version.

    Each resolver gets a request just before the change, so that it has the old answer in its cache for a second.
    """
    loop, copy = asyncio.get_running_loop(), a_version(key, version)
    for name in names:
        assert await shown(ours, name, key) != writer.renderer.url(copy.full.key)
    listing = await writer.change(key, copy=copy)
    await writer.publish_downloaded(listing)
    published_at = loop.time()

    async def seconds(name: str) -> float:
        while await shown(ours, name, key) != writer.renderer.url(copy.full.key):
            assert loop.time() - published_at < 10, f"{name} never shows the new version"
            await asyncio.sleep(0.01)
        return loop.time() - published_at

    return list(await asyncio.gather(*(seconds(name) for name in names)))


async def test_a_new_resolver_is_ready_once_it_reads_events_and_then_each_reads_every_event(
    namespace: Namespace, tmp_path: Path
) -> None:
    async with proxy_to(namespace.servers.kafka) as kafka:
        theirs = dataclasses.replace(namespace, servers=dataclasses.replace(namespace.servers, kafka=kafka.address))
        async with system.running(theirs, FEEDS, tmp_path, "resolver") as ours, listing_writer(namespace) as writer:
            await writer.record("R1", a_version("R1", 1))
            kafka.fall_silent()
            starting = asyncio.create_task(ours.start("resolver-2"))

            async def answered() -> httpx.Response | None:
                try:
                    return await ours.http.get(f"{ours.url('resolver-2')}/readyz")
                except (httpx.TransportError, KeyError):
                    return None

            answer = await until(answered, "the new resolver to answer")
            assert (answer.status_code, answer.json()["faults"]) == (503, {"service": "starting"})
            assert not starting.done()
            kafka.restore()
            await starting
            names = ("resolver-2", "resolver")
            rounds = [await seconds_until_shown(ours, writer, "R1", 2 + number, *names) for number in range(ROUNDS)]
            assert rounds[0][0] < AT_ONCE_SECONDS, "the first event after the new resolver was ready"
            for name, seconds in zip(names, zip(*rounds, strict=True), strict=True):
                assert statistics.median(seconds) < AT_ONCE_SECONDS, (name, seconds)
