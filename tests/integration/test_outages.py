"""MongoDB, object storage or Kafka is away for half a minute: work waits, nothing is lost, nothing spins."""

import asyncio
import dataclasses
import signal
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from local import stack
from local.processes import Process
from local.sandbox import Sandbox
from shared.stores import mongo
from tests import system
from tests.proxies import proxy_to
from tests.servers import Namespace, Servers
from tests.system import System, until

pytestmark = pytest.mark.timeout(240)

SERVICES = ("scheduler", "downloader")
AWAY_SECONDS = 30.0
MOST_LINES = 300
"""In that time, over all photos in hand: what spins writes thousands."""
MOST_CPU_SECONDS = 5.0
"""In that time, of each service, where one was measured: what spins takes nearly all of it."""


async def faults(whole: System, service: str) -> Mapping[str, str]:
    """What `/readyz` of a service says is away; its status must say the same."""
    answer = await whole.http.get(f"{whole.url(service)}/readyz")
    found = dict(answer.json()["faults"])
    assert answer.status_code == (503 if found else 200), answer.text
    return found


async def is_away(whole: System, name: str, services: Collection[str]) -> None:
    """See the server away for its time: `/readyz` of the services names it all the while, and none of them spins."""
    back_at = asyncio.get_running_loop().time() + AWAY_SECONDS
    lines, spent = len(whole.log("downloader").splitlines()), {one: cpu_seconds(whole, one) for one in SERVICES}

    async def named() -> bool:
        return all([list(await faults(whole, one)) == [name] for one in services])

    await until(named, f"/readyz to say that {name} is away", seconds=AWAY_SECONDS / 2)

    async def long_enough() -> bool:
        return asyncio.get_running_loop().time() > back_at

    await until(long_enough, "the outage to last")
    assert await named()
    for one in SERVICES:
        assert cpu_seconds(whole, one) - spent[one] < MOST_CPU_SECONDS, one
    assert len(whole.log("downloader").splitlines()) - lines <= MOST_LINES


def cpu_seconds(whole: System, service: str) -> float:
    """How long a service has computed, without the children that decode."""
    times = psutil.Process(whole.pid(service)).cpu_times()
    return float(times.user + times.system)


async def is_well(whole: System) -> None:
    """Wait until nothing is away."""

    async def nothing() -> bool:
        return not any([await faults(whole, one) for one in SERVICES])

    await until(nothing, "/readyz to be well again")


async def downloaded(whole: System, photos: int) -> None:
    """Wait until so many photos are recorded as here."""
    async with mongo.connect(whole.namespace.servers.mongo, whole.namespace.db) as database:

        async def all_here() -> bool:
            counts = [one["counts"].get("downloaded", 0) async for one in database["listings"].find({}, {"counts": 1})]
            return bool(sum(counts) == photos)

        await until(all_here, f"{photos} downloads")


async def under_way(mls: Sandbox, requests: int) -> None:
    """Wait until the origin was asked so often."""

    async def asked() -> bool:
        return mls.image_requests >= requests

    await until(asked, "downloads to be under way")


@pytest.mark.parametrize("name", ["mongo", "objects"])
async def test_work_waits_for_a_store_that_is_away(namespace: Namespace, tmp_path: Path, name: str) -> None:
    async with (
        Sandbox(listings=8, photos=5, widest=320) as mls,
        proxy_to(urlsplit(namespace.servers.mongo).netloc) as to_mongo,
        proxy_to(urlsplit(namespace.servers.s3_endpoint).netloc) as to_s3,
    ):
        behind = dataclasses.replace(
            namespace.servers,
            mongo=f"mongodb://{to_mongo.address}/?directConnection=true",
            s3_endpoint=f"http://{to_s3.address}",
        )
        feeds, theirs = mls.feeds_toml(), dataclasses.replace(namespace, servers=behind)
        async with system.running(theirs, feeds, tmp_path, *SERVICES) as whole:
            mls.misbehave(kind="slow", delay_seconds=0.3)
            await whole.publish_listings(*mls.properties()[:6])
            await under_way(mls, 12)
            if name == "mongo":
                to_mongo.fall_silent()
            else:
                to_s3.refuse()
            asked = mls.image_requests
            await is_away(whole, name, SERVICES if name == "mongo" else ["downloader"])
            assert mls.image_requests - asked <= 30, "no more than what was in hand"
            await whole.publish_listings(*mls.properties()[6:])
            (to_mongo if name == "mongo" else to_s3).restore()
            await is_well(whole)
            await downloaded(whole, 40)
            times = Counter((one.listing_key, one.photo) for one in mls.image_log)
            assert max(times.values()) <= (1 if name == "mongo" else 2), "asked for again only what could not be kept"
            assert not [line for line in whole.log("downloader").splitlines() if "Traceback" in line]


@pytest.fixture
def broker(servers: Servers, tmp_path: Path) -> Iterator[tuple[Servers, psutil.Process]]:
    """The shared servers with a Kafka of this test's own, and its process."""
    home = tmp_path / "kafka"
    given = {
        "IMAGES_MONGO": servers.mongo,
        "IMAGES_S3_ENDPOINT": servers.s3_endpoint,
        "IMAGES_S3_ACCESS_KEY": servers.s3_access_key,
        "IMAGES_S3_SECRET_KEY": servers.s3_secret_key,
    }
    try:
        settings = stack.up(home, given, system=stack.SERVERS_ONLY)
        process = Process("kafka", home).running()
        assert process is not None
        yield dataclasses.replace(servers, kafka=settings["IMAGES_KAFKA"]), process
    finally:
        stack.down(home)


async def test_work_waits_for_kafka(
    namespace: Namespace, broker: tuple[Servers, psutil.Process], tmp_path: Path
) -> None:
    servers, kafka = broker
    theirs = dataclasses.replace(namespace, servers=servers)
    async with (
        Sandbox(listings=6, photos=5, widest=320) as mls,
        system.running(theirs, mls.feeds_toml(), tmp_path, *SERVICES) as whole,
    ):
        mls.misbehave(kind="slow", delay_seconds=0.3)
        await whole.publish_listings(*mls.properties())
        await under_way(mls, 12)
        kafka.send_signal(signal.SIGSTOP)
        try:
            await is_away(whole, "kafka", SERVICES)
        finally:
            kafka.send_signal(signal.SIGCONT)
        await is_well(whole)
        await downloaded(whole, 30)

        async def all_said() -> bool:
            keys = [str(record["ListingKey"]) for record in mls.properties()]
            said = {event["image_id"] for key in keys for event in await whole.events("image-downloaded", key)}
            return len(said) == 30

        await until(all_said, "all news")
        assert mls.image_requests == 30
        for name in SERVICES:
            assert "Traceback" not in whole.log(name), whole.log(name)
