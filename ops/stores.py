"""The MongoDB stores that commands and the desk need, opened together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.attempts import Attempts
from shared.stores.handled_dead_letters import HandledDeadLetters
from shared.stores.ledgers import Ledgers
from shared.stores.removal_holds import RemovalHolds
from shared.stores.throughputs import Throughputs


@dataclass(frozen=True, slots=True)
class Stores:
    """One store of each kind that commands and the desk need, all of the same MongoDB database."""

    listings: mongo.MongoListings
    attempts: Attempts
    ledgers: Ledgers
    throughputs: Throughputs
    handled_dead_letters: HandledDeadLetters
    removal_holds: RemovalHolds


def stores_of(database: mongo.Database, renderer: Renderer) -> Stores:
    """Return the stores of a MongoDB database to which the caller is connected.

    `renderer` renders the answers for frontends, which are stored with each listing.
    """
    return Stores(
        listings=mongo.MongoListings(database, renderer),
        attempts=mongo.MongoAttempts(database),
        ledgers=mongo.MongoLedgers(database),
        throughputs=mongo.MongoThroughputs(database),
        handled_dead_letters=mongo.MongoHandledDeadLetters(database),
        removal_holds=mongo.MongoRemovalHolds(database),
    )


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Stores]:
    """Connect to the MongoDB database that the settings name, and yield its stores until the context ends."""
    async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
        yield stores_of(database, Renderer(settings.public_root))
