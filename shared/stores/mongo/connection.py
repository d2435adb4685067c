"""Connections to MongoDB, and what its driver's exceptions become."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from shared.stores.documents import Document
from shared.stores.errors import StoreUnavailable

Database: TypeAlias = "AsyncIOMotorDatabase[Document]"
"""Motor's database; its classes take type arguments for the type checker only."""
AnswersDatabase: TypeAlias = AsyncDatabase[Document]
"""The same by PyMongo's own asyncio client, which needs no threads: see docs/adr/0003."""

_CALL_SECONDS = 20.0
_CLOSING_SECONDS = 0.5
"""A driver takes leave of its server, and waits for one that hangs."""


@asynccontextmanager
async def connect(uri: str, database: str, call_seconds: float = _CALL_SECONDS) -> AsyncIterator[Database]:
    """Open a database for as long as the context lasts. Calls fail after seconds, not minutes, while it is away.

    Only what builds indexes waits longer: over millions of images it takes minutes.
    """
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(uri, **_options(call_seconds))
    try:
        yield client[database]
    finally:
        closing = threading.Thread(target=client.close, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, _CLOSING_SECONDS)


@asynccontextmanager
async def connect_for_answers(uri: str, database: str) -> AsyncIterator[AnswersDatabase]:
    """Open a database for `MongoAnswers`, for as long as the context lasts."""
    client = AsyncMongoClient[Document](uri, **_options(_CALL_SECONDS))
    try:
        yield client[database]
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await client.close()


def _options(call_seconds: float) -> dict[str, Any]:
    return {
        "tz_aware": True,
        "serverSelectionTimeoutMS": 3_000,
        "connectTimeoutMS": 3_000,
        "socketTimeoutMS": int(call_seconds * 1000),
        "retryWrites": True,
    }


async def ping(database: Database) -> None:
    """Raise StoreUnavailable while the server does not answer."""
    with translated():
        await database.command("ping")


async def server_time(database: Database) -> datetime:
    """Return the server's clock."""
    with translated():
        hello = await database.command("hello")
    return cast("datetime", hello["localTime"]).replace(tzinfo=UTC)


@contextmanager
def translated() -> Iterator[None]:
    """Raise StoreUnavailable in place of the driver's exceptions."""
    try:
        yield
    except PyMongoError as fault:
        # What follows is the driver's own state.
        words = str(fault).split(" (configured", 1)[0].split(", Timeout:", 1)[0]
        raise StoreUnavailable(f"MongoDB: {type(fault).__name__}: {words}") from fault
