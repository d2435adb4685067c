"""The stores that the contract tests run on: one in memory, and one in MongoDB."""

from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest

from shared.render import Renderer
from shared.stores import mongo
from shared.stores.answers import Answers
from shared.stores.memory import MemoryListings
from shared.stores.mongo import MongoAnswers, MongoListings
from tests.servers import Namespace

Listings: TypeAlias = MemoryListings | MongoListings
RENDERER = Renderer("https://cdn.example.com")
KEYS = ["a/b", "a~2Fb", "a b", " ", "a\nb", "é", "e\u0301", "家🏠", "$x", "a.b", ".", "\x00", "X" * 5_000, "0"]
"""Keys that an MLS may have, however unlikely."""


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.servers)])
async def listings(request: pytest.FixtureRequest) -> AsyncIterator[Listings]:
    """An empty store of listings, in memory or in MongoDB."""
    if request.param == "memory":
        yield MemoryListings(RENDERER)
        return
    namespace: Namespace = request.getfixturevalue("namespace")
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        await mongo.apply_indexes(database)
        yield MongoListings(database, RENDERER)
        await database.client.drop_database(namespace.db)


@pytest.fixture
async def answers(request: pytest.FixtureRequest, listings: Listings) -> AsyncIterator[Answers]:
    """The store of answers for the listings in `listings`."""
    if isinstance(listings, MemoryListings):
        yield listings
        return
    namespace: Namespace = request.getfixturevalue("namespace")
    async with mongo.connect_for_answers(namespace.servers.mongo, namespace.db) as database:
        yield MongoAnswers(database, listings, RENDERER)
