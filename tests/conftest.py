"""Fixtures that any test may ask for; whoever asks for the servers is marked `servers`."""

import signal
from collections.abc import Iterator

import pytest

from tests.servers import Room, Servers, a_room, running


def pytest_configure() -> None:
    """Let the programs that tests start hear Ctrl-C: what a shell runs in the background is deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the servers, so that `-m 'not servers'` needs none; begin with what waits for a minute."""
    for item in items:
        if isinstance(item, pytest.Function) and "servers" in item.fixturenames:
            item.add_marker(pytest.mark.servers)
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Real servers, shared by the whole run."""
    with running() as found:
        yield found


@pytest.fixture
def room(servers: Servers) -> Room:
    """A place on the servers that no other test uses."""
    return a_room(servers)
