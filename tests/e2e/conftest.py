"""A browser, and a system with pictures large enough to choose a variant of."""

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, async_playwright

from local.sandbox import Sandbox
from tests import system, tools
from tests.servers import Servers, a_room
from tests.system import System


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
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
    """The sandbox MLS."""
    async with Sandbox(listings=12, photos=4, widest=640) as running:
        yield running


@pytest.fixture(scope="session")
async def whole(servers: Servers, mls: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """All services on the shared servers."""
    feeds = "\n".join([mls.feeds_toml(), mls.feeds_toml(feed="other")])
    async with system.running(a_room(servers), feeds, tmp_path_factory.mktemp("e2e")) as all_of_it:
        yield all_of_it


@pytest.fixture(scope="session")
def _keys(mls: Sandbox) -> Iterator[str]:
    return iter(list(mls.market.listings))


@pytest.fixture
def key(_keys: Iterator[str]) -> str:
    """A listing of the sandbox MLS that no other test uses."""
    return next(_keys)
