"""Everything of MongoDB that a command may need, opened together."""

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
    """One of each."""

    listings: mongo.MongoListings
    attempts: Attempts
    ledgers: Ledgers
    throughputs: Throughputs
    marks: HandledDeadLetters
    removal_holds: RemovalHolds


def of(database: mongo.Database, renderer: Renderer) -> Stores:
    """Return the stores of a database."""
    return Stores(
        listings=mongo.MongoListings(database, renderer),
        attempts=mongo.MongoAttempts(database),
        ledgers=mongo.MongoLedgers(database),
        throughputs=mongo.MongoThroughputs(database),
        marks=mongo.MongoHandledDeadLetters(database),
        removal_holds=mongo.MongoRemovalHolds(database),
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Stores]:
    """Open them for as long as the context lasts."""
    async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
        yield of(database, Renderer(settings.public_root))
