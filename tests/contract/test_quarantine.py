"""Listings that MongoDB cannot take, or that this program cannot read, are quarantined. On a real MongoDB."""

from collections.abc import AsyncIterator

import pytest

from shared.clock import utc_now
from shared.domain.priority import Priority
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.errors import ListingsUnwritable
from shared.stores.mongo import MongoListings
from tests.builders import FEED, NOW, a_discard, a_listing, a_photo, after
from tests.servers import Namespace


@pytest.fixture
async def database(namespace: Namespace) -> AsyncIterator[mongo.Database]:
    """A database with its indexes, which is dropped after the test."""
    async with mongo.connect(namespace.servers.mongo, namespace.db) as found:
        await mongo.apply_indexes(found)
        yield found
        await found.client.drop_database(namespace.db)


async def test_a_listing_that_is_too_large_leaves_the_queues_and_the_others_are_written(
    database: mongo.Database,
) -> None:
    listings = MongoListings(database, Renderer("http://x"))
    due = [a_listing(a_photo(key=key), key=key, discards=(a_discard(),)) for key in ("POISON", "X1")]
    assert not await listings.write(due)
    poison, other = [
        a_listing(a_photo(key=key, caption=caption), key=key, discards=(a_discard(),), revision=1)
        for key, caption in (("POISON", "x" * 17_000_000), ("X1", "changed"))
    ]
    with pytest.raises(ListingsUnwritable) as raised:
        await listings.write([poison, other])
    assert raised.value.refused == {(FEED, "POISON")}
    assert [listing.key for listing in await listings.due(FEED, utc_now(), 9)] == ["X1"]
    assert [listing.key for listing in await listings.oldest_due(FEED, utc_now(), 9)] == ["X1"]
    assert [listing.key for listing in await listings.removal_due(utc_now(), 9)] == ["X1"]
    assert await listings.quarantined_count(FEED) == 1
    stored = await listings.get(FEED, "POISON")
    assert stored is not None
    assert not await listings.write([stored])
    assert await listings.quarantined_count(FEED) == 0
    assert len(await listings.removal_due(utc_now(), 9)) == 2


async def test_a_document_that_cannot_be_read_leaves_the_queues(database: mongo.Database) -> None:
    listings = MongoListings(database, Renderer("http://x"))
    await listings.write([a_listing(a_photo(key=key), key=key, discards=(a_discard(),)) for key in ("POISON", "X1")])
    await database["listings"].update_one({"listing_key": "POISON"}, {"$set": {"discards.0.reason": "of next year"}})
    for _ in range(2):
        assert [listing.key for listing in await listings.due(FEED, NOW, 9)] == ["X1"]
        assert [listing.key for listing in await listings.removal_due(after(1), 9)] == ["X1"]
    found = await database["listings"].find_one({"listing_key": "POISON"})
    assert found is not None
    assert "of next year" in found["quarantined"]["reason"]
    assert found["removal_due_at"] > utc_now()
    assert max(found["queue"][priority]["due_at"] for priority in Priority if priority in found["queue"]) > utc_now()
