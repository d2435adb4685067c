"""What does /healthz answer, and which faults of dependencies are logged?"""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from shared.health import Health
from shared.stores.errors import StoreUnavailable


@pytest.mark.parametrize(
    ("stuck", "status", "body"),
    [
        ([], 200, {"status": "alive"}),
        (["image-outdated"], 503, {"status": "stuck", "topics": ["image-outdated"]}),
    ],
)
async def test_healthz_names_the_topics_whose_consumer_stands_still(
    stuck: list[str], status: int, body: object
) -> None:
    health, app = Health({}, CollectorRegistry()), web.Application()
    health.stuck_topics = lambda: stuck
    app.add_routes(health.routes())
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/healthz")
        assert (answer.status, await answer.json()) == (status, body)


async def test_an_unavailable_dependency_is_logged_once_and_again_when_it_is_back() -> None:
    unavailable = {"mongo"}

    async def ping() -> None:
        if "mongo" in unavailable:
            raise StoreUnavailable("MongoDB: refused")

    health = Health({"mongo": ping, "s3": lambda: asyncio.sleep(0)}, CollectorRegistry())
    with capture_logs() as logged:
        for _ in range(3):
            await health.log_changes()
        unavailable.clear()
        for _ in range(3):
            await health.log_changes()
    assert logged == [
        {"event": "dependency-unavailable", "log_level": "warning", "mongo": "MongoDB: refused"},
        {"event": "dependency-available", "log_level": "info"},
    ]
