"""Recording a batch of fifty listings of forty photos takes as many commands of MongoDB as a batch of one listing."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import orjson
import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import CollectorRegistry
from pymongo.monitoring import CommandListener

from shared.clock import utc_now
from shared.dead_letters import DeadLetters
from shared.events.records import Record
from shared.kafka import Broker
from shared.recording import Recorder
from shared.render import Renderer
from shared.stores import mongo
from tests.builders import FEED, a_feed, a_record, a_row
from tests.servers import Namespace

LISTINGS, PHOTOS = 50, 40


class SentCommands(CommandListener):
    """The names of the commands that a client sends, in order."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def started(self, event: Any) -> None:
        self.commands.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        return

    def failed(self, event: Any) -> None:
        return


class CountedRecorder:
    """A recorder, and the commands that its client sends to MongoDB."""

    def __init__(self, database: mongo.Database, sent: SentCommands) -> None:
        self.sent = sent
        dead = DeadLetters(cast("Broker", None), "", "scheduler", utc_now, CollectorRegistry())
        self.listings = mongo.MongoListings(database, Renderer("https://cdn.example.com"))
        self._recorder = Recorder(self.listings, {FEED: a_feed()}, dead, utc_now, CollectorRegistry())
        self._offset = 0

    async def commands(self, records: Sequence[dict[str, Any]]) -> list[str]:
        """Record a batch; return the commands that were sent for it."""
        self.sent.commands.clear()
        await self._recorder.record([self._record(record) for record in records])
        return list(self.sent.commands)

    def _record(self, record: dict[str, Any]) -> Record:
        self._offset += 1
        value = orjson.dumps({"type": "listing-seen.v1", "data": {"feed": FEED, "property": record}})
        return Record("listing-seen", 0, self._offset, utc_now(), b"", value)


@pytest.fixture
async def counted(namespace: Namespace) -> AsyncIterator[CountedRecorder]:
    sent = SentCommands()
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(namespace.servers.mongo, tz_aware=True, event_listeners=[sent])
    await mongo.apply_indexes(client[namespace.db])
    yield CountedRecorder(client[namespace.db], sent)
    await client.drop_database(namespace.db)
    client.close()


def batch(at: float, listings: int = LISTINGS) -> list[dict[str, Any]]:
    rows = [a_row(f"{photo}", LongDescription="A bright room. " * 5) for photo in range(PHOTOS)]
    return [a_record(*rows, key=f"X{number}", at=at) for number in range(listings)]


async def test_a_batch_of_any_size_takes_at_most_two_reads_and_one_write(counted: CountedRecorder) -> None:
    single = await counted.commands(batch(0, listings=1))
    new = batch(0)[1:]
    assert (await counted.commands(new), single) == (["find", "update"], ["find", "update"])
    assert await counted.commands(batch(1)) == ["find", "find", "update"]
    found = await counted.listings.get(FEED, "X49")
    assert found is not None
    assert len(found.photos) == PHOTOS


async def test_a_stale_batch_takes_one_read_and_a_repeated_one_two(counted: CountedRecorder) -> None:
    await counted.commands(batch(1))
    assert await counted.commands(batch(0)) == ["find"]
    assert await counted.commands(batch(1)) == ["find", "find"]


async def test_a_refused_listing_takes_one_more_read_and_write(
    counted: CountedRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counted.commands(batch(0))
    read = counted.listings.get_many

    async def read_late(ids: Any) -> Any:
        listings = await read(ids)
        monkeypatch.setattr(counted.listings, "get_many", read)
        # The other recorder writes between this read and our write.
        assert not await counted.listings.write([listings[FEED, "X7"]])
        counted.sent.commands.clear()
        return listings

    monkeypatch.setattr(counted.listings, "get_many", read_late)
    assert await counted.commands(batch(1)) == ["update", "find", "update"]
