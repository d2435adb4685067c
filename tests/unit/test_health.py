"""What a probe is told of a process that lives, and of one that stands still."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from shared.health import Health


@pytest.mark.parametrize(
    ("stuck", "status", "said"),
    [
        ([], 200, {"status": "alive"}),
        (["image-outdated"], 503, {"status": "stuck", "topics": ["image-outdated"]}),
    ],
)
async def test_what_stands_still_is_named(stuck: list[str], status: int, said: object) -> None:
    health, app = Health({}, CollectorRegistry()), web.Application()
    health.stuck = lambda: stuck
    app.add_routes(health.routes())
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/healthz")
        assert (answer.status, await answer.json()) == (status, said)
