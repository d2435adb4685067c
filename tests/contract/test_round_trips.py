"""How often is MongoDB asked for a batch of fifty listings of forty photos? As often as for one."""

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


class Asked(CommandListener):
    """The commands that a client sends, in order."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def started(self, event: Any) -> None:
        self.commands.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        return

    def failed(self, event: Any) -> None:
        return


class Counted:
    """A recorder whose database counts what it is asked."""

    def __init__(self, database: mongo.Database, asked: Asked) -> None:
        self.asked = asked
        dead = DeadLetters(cast("Broker", None), "", "scheduler", utc_now, CollectorRegistry())
        self.listings = mongo.MongoListings(database, Renderer("https://cdn.example.com"))
        self._recorder = Recorder(self.listings, {FEED: a_feed()}, dead, utc_now, CollectorRegistry())
        self._offset = 0

    async def commands(self, records: Sequence[dict[str, Any]]) -> list[str]:
        """Record a batch; return what the database was asked for it."""
        self.asked.commands.clear()
        await self._recorder.record([self._heard(record) for record in records])
        return list(self.asked.commands)

    def _heard(self, record: dict[str, Any]) -> Record:
        self._offset += 1
        value = orjson.dumps({"type": "listing-seen.v1", "data": {"feed": FEED, "property": record}})
        return Record("listing-seen", 0, self._offset, utc_now(), b"", value)


@pytest.fixture
async def counted(namespace: Namespace) -> AsyncIterator[Counted]:
    asked = Asked()
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(
        namespace.servers.mongo, tz_aware=True, event_listeners=[asked]
    )
    await mongo.apply_indexes(client[namespace.db])
    yield Counted(client[namespace.db], asked)
    await client.drop_database(namespace.db)
    client.close()


def batch(at: float, listings: int = LISTINGS) -> list[dict[str, Any]]:
    rows = [a_row(f"{photo}", LongDescription="A bright room. " * 5) for photo in range(PHOTOS)]
    return [a_record(*rows, key=f"X{number}", at=at) for number in range(listings)]


async def test_a_batch_is_two_reads_and_one_write_however_many_listings_and_photos(counted: Counted) -> None:
    one = await counted.commands(batch(0, listings=1))
    new = batch(0)[1:]
    assert (await counted.commands(new), one) == (["find", "update"], ["find", "update"])
    assert await counted.commands(batch(1)) == ["find", "find", "update"]
    found = await counted.listings.get(FEED, "X49")
    assert found is not None
    assert len(found.photos) == PHOTOS


async def test_what_is_old_is_one_read_and_what_is_said_again_one_more(counted: Counted) -> None:
    await counted.commands(batch(1))
    assert await counted.commands(batch(0)) == ["find"]
    assert await counted.commands(batch(1)) == ["find", "find"]


async def test_where_another_was_faster_it_takes_those_listings_again(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counted.commands(batch(0))
    read = counted.listings.get_many

    async def read_late(ids: Any) -> Any:
        known = await read(ids)
        monkeypatch.setattr(counted.listings, "get_many", read)
        # The other recorder comes between this read and the write.
        assert not await counted.listings.write([known[FEED, "X7"]])
        counted.asked.commands.clear()
        return known

    monkeypatch.setattr(counted.listings, "get_many", read_late)
    assert await counted.commands(batch(1)) == ["update", "find", "update"]
