"""Everything of MongoDB that a command may need, opened together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.budgets import Budgets
from shared.stores.freezes import Freezes
from shared.stores.listings import Listings
from shared.stores.paces import Paces
from shared.stores.records import Attempts, Marks


@dataclass(frozen=True, slots=True)
class Stores:
    """One of each."""

    listings: Listings
    attempts: Attempts
    budgets: Budgets
    paces: Paces
    marks: Marks
    freezes: Freezes


def of(database: mongo.Database, renderer: Renderer) -> Stores:
    """Return the stores of a database."""
    return Stores(
        listings=mongo.MongoListings(database, renderer),
        attempts=mongo.MongoAttempts(database),
        budgets=mongo.MongoBudgets(database),
        paces=mongo.MongoPaces(database),
        marks=mongo.MongoMarks(database),
        freezes=mongo.MongoFreezes(database),
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Stores]:
    """Open them for as long as the context lasts."""
    async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
        yield of(database, Renderer(settings.public_root))
