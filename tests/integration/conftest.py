"""Fixtures: a running system that tests share, and listings that no other test uses."""

from collections.abc import AsyncIterator, Iterator

import pytest

from local.sandbox import Sandbox
from tests import system
from tests.servers import Servers, a_namespace
from tests.system import System


@pytest.fixture(scope="session")
async def mls() -> AsyncIterator[Sandbox]:
    """Yield a sandbox MLS with small pictures."""
    async with Sandbox(listings=60, photos=4, widest=320) as running:
        yield running


@pytest.fixture(scope="session")
async def whole(servers: Servers, mls: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Yield all services, running on the shared servers."""
    strict = {"requests_per_second": 1.0, "batch_size": 1, "concurrency": 2}
    feeds = "\n".join([mls.feeds_toml(), mls.feeds_toml(feed="other"), mls.feeds_toml(feed="strict", **strict)])
    async with system.running(
        a_namespace(servers), feeds, tmp_path_factory.mktemp("system"), serve_wait_seconds=3
    ) as all_four:
        yield all_four


@pytest.fixture(scope="session")
def several_keys(mls: Sandbox) -> Iterator[str]:
    """Return an iterator over keys of listings that no other test uses."""
    return iter(list(mls.market.listings))


@pytest.fixture
def key(mls: Sandbox, several_keys: Iterator[str]) -> Iterator[str]:
    """Yield the key of a listing that no other test uses. Faults of the sandbox end with the test."""
    yield next(several_keys)
    mls.behave()
