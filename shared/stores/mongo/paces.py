"""The paces in MongoDB."""

from dataclasses import asdict

from shared.domain.pace import Pace
from shared.stores.mongo.connection import Database, translated


class MongoPaces:
    """The paces in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["paces"]

    async def put(self, feed: str, pace: Pace) -> None:
        """Record what was measured last."""
        with translated():
            await self._collection.replace_one({"_id": feed}, asdict(pace), upsert=True)

    async def get(self, feed: str) -> Pace | None:
        """Return what was measured last, or None."""
        with translated():
            found = await self._collection.find_one({"_id": feed}, {"_id": 0})
        return Pace(**found) if found else None
