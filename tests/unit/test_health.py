"""What a probe is told of a process that lives, and of one that stands still."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from shared.health import Health
from shared.stores.errors import StoreUnavailable


@pytest.mark.parametrize(
    ("stuck", "status", "said"),
    [
        ([], 200, {"status": "alive"}),
        (["image-outdated"], 503, {"status": "stuck", "topics": ["image-outdated"]}),
    ],
)
async def test_what_stands_still_is_named(stuck: list[str], status: int, said: object) -> None:
    health, app = Health({}, CollectorRegistry()), web.Application()
    health.stuck_topics = lambda: stuck
    app.add_routes(health.routes())
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/healthz")
        assert (answer.status, await answer.json()) == (status, said)


async def test_what_is_out_of_reach_is_logged_once_and_when_it_is_back() -> None:
    away = {"mongo"}

    async def ping() -> None:
        if "mongo" in away:
            raise StoreUnavailable("MongoDB: refused")

    health = Health({"mongo": ping, "s3": lambda: asyncio.sleep(0)}, CollectorRegistry())
    with capture_logs() as said:
        for _ in range(3):
            await health.log_changes()
        away.clear()
        for _ in range(3):
            await health.log_changes()
    assert said == [
        {"event": "dependency-unavailable", "log_level": "warning", "mongo": "MongoDB: refused"},
        {"event": "dependency-available", "log_level": "info"},
    ]
