"""When is another process with the same worker's name a rival?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from local import ports
from shared.consumer import Consumer
from shared.health import Health, serving
from shared.rivals import WorkerIdentity
from shared.runtime import work
from shared.settings import Settings
from shared.stores.memory import MemoryWorkers
from shared.stores.workers import Workers

NEVER = asyncio.Event()


@asynccontextmanager
async def running(
    identity: WorkerIdentity, host: str = "127.0.0.1", health: Health | None = None
) -> AsyncIterator[None]:
    """Answer as the process `identity` during the context."""
    health = health or Health({}, CollectorRegistry())
    health.worker_token = identity.token
    app = web.Application()
    app.add_routes(health.routes())
    async with serving(app, host, identity.port):
        await identity.check()
        yield


def an_identity(workers: Workers, settings: Settings) -> WorkerIdentity:
    return WorkerIdentity(workers, settings, "downloader")


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None, downloader_port=ports.choose(set()))


async def test_a_process_whose_name_another_one_has_that_answers_names_the_setting(settings: Settings) -> None:
    workers = MemoryWorkers()
    first = an_identity(workers, settings)
    second = an_identity(workers, settings.model_copy(update={"host": "127.0.0.2"}))
    async with running(first), running(second, host="127.0.0.2"):
        await first.check()
        assert first.rival == ""
        assert f"IMAGES_DOWNLOADER_PORT is {settings.downloader_port}, and another downloader" in second.rival
        assert f"answers at http://127.0.0.1:{settings.downloader_port}. Give each downloader" in second.rival


async def test_a_killed_process_is_no_rival_of_the_next_one_at_its_address(settings: Settings) -> None:
    workers = MemoryWorkers()
    async with running(an_identity(workers, settings)):
        pass
    again = an_identity(workers, settings)
    async with running(again):
        await again.check()
        assert again.rival == ""


async def test_a_draining_process_gives_its_name_away(settings: Settings) -> None:
    workers, health = MemoryWorkers(), Health({}, CollectorRegistry())
    second = an_identity(workers, settings.model_copy(update={"host": "127.0.0.2"}))
    async with running(an_identity(workers, settings), health=health):
        health.is_draining = True
        async with running(second, host="127.0.0.2"):
            assert second.rival == ""


async def test_of_two_processes_that_start_at_the_same_time_the_first_ends(settings: Settings) -> None:
    workers, unaware = MemoryWorkers(), MemoryWorkers()
    first = an_identity(workers, settings)
    second = an_identity(unaware, settings.model_copy(update={"host": "127.0.0.2"}))
    async with running(first), running(second, host="127.0.0.2"):
        stored = await unaware.get(second._own.name)
        assert stored is not None
        await workers.put(stored)
        await first.check()
        assert "answers at http://127.0.0.2:" in first.rival


async def test_a_service_with_a_rival_reads_nothing_and_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_topics(*_: object) -> None:
        return

    monkeypatch.setattr("shared.runtime.wait_for_topics", no_topics)
    workers = MemoryWorkers()
    second = settings.model_copy(update={"host": "127.0.0.2"})
    consumer = Consumer(second, "downloader", [], None, CollectorRegistry())  # type: ignore[arg-type]
    async with running(an_identity(workers, settings)):
        with pytest.raises(SystemExit, match="2"):
            await work(second, an_identity(workers, second), consumer, [], Health({}, CollectorRegistry()), NEVER)
    assert not consumer.app.started
