"""Fixtures of all tests. A test that uses the servers is marked `servers`."""

import signal
from collections.abc import Iterator

import pytest

from tests.servers import Namespace, Servers, a_namespace, running


def pytest_configure() -> None:
    """Handle SIGINT in programs that tests start: a shell has its background processes ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the servers, for `-m 'not servers'`; run those with a timeout of their own first."""
    for item in items:
        if isinstance(item, pytest.Function) and "servers" in item.fixturenames:
            item.add_marker(pytest.mark.servers)
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The real servers, shared by all tests of the run."""
    with running() as started:
        yield started


@pytest.fixture
def namespace(servers: Servers) -> Namespace:
    """Names on the servers that no other test uses."""
    return a_namespace(servers)
