"""Both stores, in memory and in MongoDB, of pushed keys and of refreshes keep the same contract."""

from collections.abc import AsyncIterator

import pytest

from shared.stores import mongo
from shared.stores.memory import MemoryPushedKeys, MemoryRefreshes
from shared.stores.pushed_keys import PushedKey, PushedKeys, Resource
from shared.stores.refreshes import Refreshes
from tests.builders import FEED, NOW, after
from tests.contract.conftest import KEYS
from tests.servers import Namespace


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[tuple[PushedKeys, Refreshes]]:
    if request.param == "memory":
        yield MemoryPushedKeys(), MemoryRefreshes()
        return
    namespace: Namespace = request.getfixturevalue("namespace")
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        await mongo.apply_indexes(database)
        yield mongo.MongoPushedKeys(database), mongo.MongoRefreshes(database)
        await database.client.drop_database(namespace.db)


async def test_pushed_keys_are_read_oldest_first_each_once(stores: tuple[PushedKeys, Refreshes]) -> None:
    keys, _ = stores
    old, new = PushedKey(Resource.PROPERTY, "X1"), PushedKey(Resource.MEDIA, "X1")
    await keys.put(FEED, [new], after(1))
    await keys.put(FEED, [old], NOW)
    await keys.put("other", [old], NOW)
    await keys.put(FEED, [], NOW)
    assert await keys.oldest(FEED, 10) == [(old, NOW), (new, after(1))]
    assert await keys.oldest(FEED, 1) == [(old, NOW)]
    await keys.put(FEED, [old], after(2))
    assert await keys.oldest(FEED, 10) == [(new, after(1)), (old, after(2))]


async def test_a_key_that_was_pushed_again_is_not_removed(stores: tuple[PushedKeys, Refreshes]) -> None:
    keys, _ = stores
    first, second = PushedKey(Resource.PROPERTY, "X1"), PushedKey(Resource.PROPERTY, "X2")
    await keys.put(FEED, [first, second], NOW)
    read = await keys.oldest(FEED, 10)
    await keys.put(FEED, [second], after(1))
    await keys.remove(FEED, read)
    await keys.remove(FEED, [])
    assert await keys.oldest(FEED, 10) == [(second, after(1))]


async def test_every_key_can_be_stored(stores: tuple[PushedKeys, Refreshes]) -> None:
    keys, _ = stores
    pushed = [PushedKey(Resource.PROPERTY, key) for key in KEYS]
    await keys.put(FEED, pushed, NOW)
    assert {key for key, _ in await keys.oldest(FEED, 99)} == set(pushed)


async def test_refreshes_are_counted_up_to_what_is_allowed(stores: tuple[PushedKeys, Refreshes]) -> None:
    _, refreshes = stores
    assert [await refreshes.take(FEED, photos, 10) for photos in (6, 5, 4, 1)] == [True, False, True, False]
    assert await refreshes.take("other", 10, 10)
    assert not await refreshes.take("third", 11, 10)
