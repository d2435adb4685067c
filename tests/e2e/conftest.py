"""Fixtures: a browser, a site of another origin, and a system whose photos are wide enough for all variants."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, async_playwright

from local import ports
from local.sandbox import Sandbox
from tests import system, tools
from tests.e2e import cdn
from tests.e2e.site import Site
from tests.servers import Servers, a_namespace
from tests.system import System


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Yield a headless Chromium."""
    tool = tools.chromium()
    arguments = ["--no-sandbox", "--disable-gpu"]
    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(
            executable_path=str(tool.path), env={**tool.env}, args=arguments, headless=True
        )
        yield chromium
        await chromium.close()


@pytest.fixture(scope="session")
async def mls() -> AsyncIterator[Sandbox]:
    """Yield a sandbox MLS whose photos are at least 1,600 px wide."""
    async with Sandbox(listings=16, photos=4) as running:
        yield running


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of nginx's cache."""
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="session")
async def whole(
    servers: Servers, mls: Sandbox, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """Yield the four services on the shared servers, with the cache of docs/cdn.md in front."""
    feeds = "\n".join([mls.feeds_toml(), mls.feeds_toml(feed="other")])
    namespace, port = a_namespace(servers), ports.choose(set())
    settings = {"serve_wait_seconds": 2, "public_url": f"http://127.0.0.1:{port}/photos"}
    async with (
        cdn.nginx(namespace, port, cache),
        system.running(namespace, feeds, tmp_path_factory.mktemp("e2e"), **settings) as all_four,
    ):
        yield all_four


@pytest.fixture(scope="session")
def _keys(mls: Sandbox) -> Iterator[str]:
    return iter(list(mls.market.listings))


@pytest.fixture
def key(_keys: Iterator[str], mls: Sandbox) -> Iterator[str]:
    """Yield the key of a listing that no other test uses. Faults of the sandbox end with the test."""
    yield next(_keys)
    mls.behave()


@pytest.fixture(scope="session")
async def site(whole: System) -> AsyncIterator[Site]:
    """Yield a listing site of another origin than the resolver, with a strict Content-Security-Policy."""
    site = Site(resolver=whole.url("resolver"), pictures=whole.env["IMAGES_PUBLIC_URL"].removesuffix("/photos"))
    app = web.Application()
    app.add_routes([web.get("/", site.page)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield site
    finally:
        await runner.cleanup()
