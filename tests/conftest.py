"""Fixtures of all tests. A test that uses the servers is marked `servers`."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from tests.servers import Namespace, Servers, a_namespace, running


def pytest_configure() -> None:
    """Have SIGINT handled in the programs that tests start: a shell lets its background processes ignore it.

    Let no property test fail because the machine is slow.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any speed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that uses the servers, for `-m 'not servers'`, and put tests with a timeout of their own first."""
    for item in items:
        if isinstance(item, pytest.Function) and "servers" in item.fixturenames:
            item.add_marker(pytest.mark.servers)
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(autouse=True)
def _pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore Pillow's limit of pixels after each test: a decoder that runs in the test's process sets it for good."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Start a real Kafka, MongoDB and S3 server, shared by all tests of this process; stop them after the last test."""
    with running() as started:
        yield started


@pytest.fixture
def namespace(servers: Servers) -> Namespace:
    """Return names on the servers, such as a database's, that no other test uses. Nothing exists there yet."""
    return a_namespace(servers)
