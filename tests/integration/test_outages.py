"""Test outages of MongoDB, object storage and Kafka of 30 s: no work is lost, and no service loops without a pause."""

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
OUTAGE_SECONDS = 30.0
MAX_LOG_LINES = 300
"""The log lines of the downloader in an outage. A loop without a pause would write thousands."""
MAX_CPU_SECONDS = 5.0
"""The CPU seconds of each service in an outage: 1 was measured. A loop without a pause would take nearly 30."""


async def faults(whole: System, service: str) -> Mapping[str, str]:
    """Return the faults that `/readyz` of a service names; its status must be 503 if there are any, else 200."""
    answer = await whole.http.get(f"{whole.url(service)}/readyz")
    found = dict(answer.json()["faults"])
    assert answer.status_code == (503 if found else 200), answer.text
    return found


async def wait_for_outage(whole: System, name: str, services: Collection[str]) -> None:
    """Wait until the outage has lasted. `/readyz` of the services must name the server, and no service may loop."""
    back_at = asyncio.get_running_loop().time() + OUTAGE_SECONDS
    lines, spent = (
        len(whole.log("downloader").splitlines()),
        {service: cpu_seconds(whole, service) for service in SERVICES},
    )

    async def named() -> bool:
        return all([list(await faults(whole, service)) == [name] for service in services])

    await until(named, f"/readyz to name {name}", seconds=OUTAGE_SECONDS / 2)

    async def long_enough() -> bool:
        return asyncio.get_running_loop().time() > back_at

    await until(long_enough, "the outage to last")
    assert await named()
    for service in SERVICES:
        assert cpu_seconds(whole, service) - spent[service] < MAX_CPU_SECONDS, service
    assert len(whole.log("downloader").splitlines()) - lines <= MAX_LOG_LINES


def cpu_seconds(whole: System, service: str) -> float:
    """Return the CPU seconds of a service, without its encoders."""
    times = psutil.Process(whole.pid(service)).cpu_times()
    return float(times.user + times.system)


async def wait_until_ready(whole: System) -> None:
    """Wait until `/readyz` of all services names no fault."""

    async def nothing() -> bool:
        return not any([await faults(whole, service) for service in SERVICES])

    await until(nothing, "/readyz to name no fault")


async def downloaded(whole: System, photos: int) -> None:
    """Wait until this number of photos are recorded as downloaded."""
    async with mongo.connect(whole.namespace.servers.mongo, whole.namespace.db) as database:

        async def all_downloaded() -> bool:
            counts = [
                listing["counts"].get("downloaded", 0) async for listing in database["listings"].find({}, {"counts": 1})
            ]
            return bool(sum(counts) == photos)

        await until(all_downloaded, f"{photos} downloads")


async def under_way(mls: Sandbox, requests: int) -> None:
    """Wait until the origin has had this number of requests."""

    async def is_under_way() -> bool:
        return mls.image_requests >= requests

    await until(is_under_way, "downloads to be under way")


@pytest.mark.parametrize("name", ["mongo", "objects"])
async def test_work_continues_after_an_outage_of_a_store(namespace: Namespace, tmp_path: Path, name: str) -> None:
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
            before = mls.image_requests
            await wait_for_outage(whole, name, SERVICES if name == "mongo" else ["downloader"])
            assert mls.image_requests - before <= 30, "only photos in flight"
            await whole.publish_listings(*mls.properties()[6:])
            (to_mongo if name == "mongo" else to_s3).restore()
            await wait_until_ready(whole)
            await downloaded(whole, 40)
            times = Counter((request.listing_key, request.photo) for request in mls.image_log)
            assert max(times.values()) <= (1 if name == "mongo" else 2), (
                "only photos that could not be stored are fetched again"
            )
            assert not [line for line in whole.log("downloader").splitlines() if "Traceback" in line]


@pytest.fixture
def broker(servers: Servers, tmp_path: Path) -> Iterator[tuple[Servers, psutil.Process]]:
    """Yield the shared servers with a Kafka of the test's own, and its process."""
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


async def test_work_continues_after_an_outage_of_kafka(
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
            await wait_for_outage(whole, "kafka", SERVICES)
        finally:
            kafka.send_signal(signal.SIGCONT)
        await wait_until_ready(whole)
        await downloaded(whole, 30)

        async def all_published() -> bool:
            keys = [str(record["ListingKey"]) for record in mls.properties()]
            downloaded_ids = {
                event["image_id"] for key in keys for event in await whole.events("image-downloaded", key)
            }
            return len(downloaded_ids) == 30

        await until(all_published, "an event for each photo")
        assert mls.image_requests == 30
        for name in SERVICES:
            assert "Traceback" not in whole.log(name), whole.log(name)
