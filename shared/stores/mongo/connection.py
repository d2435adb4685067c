"""Opens connections to MongoDB, and turns the drivers' exceptions into StoreUnavailable."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from shared.stores.documents import Document
from shared.stores.errors import StoreUnavailable

Database: TypeAlias = "AsyncIOMotorDatabase[Document]"
"""A database of Motor. It is a string because Motor's classes take type arguments in type checkers only."""
AnswersDatabase: TypeAlias = AsyncDatabase[Document]
"""A database of PyMongo's own asyncio client, which uses no threads: see docs/adr/0003."""

_CALL_SECONDS = 20.0
_CLOSE_TIMEOUT_SECONDS = 0.5
"""When a driver is closed, it ends its sessions at the server, and waits long if the server hangs."""


@asynccontextmanager
async def connect(uri: str, database: str, call_seconds: float = _CALL_SECONDS) -> AsyncIterator[Database]:
    """Open the MongoDB database named `database` at `uri`, and close the connection when the context ends.

    Whatever `uri` says, reads go to the primary and return only what a majority of the replica set has stored, and
    writes wait for a majority. The server is not contacted before the first call. A call fails after `call_seconds`, or
    after 3 seconds if no server can be reached; `translated` turns its exception into StoreUnavailable. Callers that
    build indexes pass a longer time, since building them takes minutes with millions of images.
    """
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(uri, **_options(call_seconds))
    try:
        # Services decide by what they read here: no election may undo it, and a later read must find what was written.
        yield client.get_database(
            database,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=WriteConcern("majority"),
        )
    finally:
        closing = threading.Thread(target=client.close, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, _CLOSE_TIMEOUT_SECONDS)


@asynccontextmanager
async def connect_for_answers(uri: str, database: str) -> AsyncIterator[AnswersDatabase]:
    """Open the MongoDB database named `database` at `uri` for MongoAnswers, and close it when the context ends.

    The connection is PyMongo's own asyncio client, which uses no threads. A call fails after 20 seconds, or after 3
    seconds if no server can be reached; `translated` turns its exception into StoreUnavailable.
    """
    client = AsyncMongoClient[Document](uri, **_options(_CALL_SECONDS))
    try:
        yield client[database]
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_SECONDS):
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
    """Raise StoreUnavailable if the MongoDB server of `database` does not answer; otherwise do nothing."""
    with translated():
        await database.command("ping")


async def server_time(database: Database) -> datetime:
    """Ask the MongoDB server of `database` for its time, and return it in UTC. Raises StoreUnavailable."""
    with translated():
        hello = await database.command("hello")
    return cast("datetime", hello["localTime"]).replace(tzinfo=UTC)


@contextmanager
def translated() -> Iterator[None]:
    """Turn exceptions of Motor and PyMongo inside the context into StoreUnavailable, with MongoDB's own message."""
    try:
        yield
    except PyMongoError as error:
        # After these words, the message continues with the driver's configuration and state.
        message = str(error).split(" (configured", 1)[0].split(", Timeout:", 1)[0]
        raise StoreUnavailable(f"MongoDB: {type(error).__name__}: {message}") from error
