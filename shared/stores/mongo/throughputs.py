"""The paces in MongoDB."""

from shared.domain.throughput import Throughput
from shared.stores.mongo.connection import Database, translated


class MongoThroughputs:
    """The paces in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["paces"]

    async def put(self, feed: str, throughput: Throughput) -> None:
        """Record what was measured last."""
        with translated():
            document = {"at": throughput.at, "finished_per_second": throughput.finished_per_second}
            await self._collection.replace_one({"_id": feed}, document, upsert=True)

    async def get(self, feed: str) -> Throughput | None:
        """Return what was measured last, or None."""
        with translated():
            found = await self._collection.find_one({"_id": feed}, {"_id": 0})
        return Throughput(found["at"], found["finished_per_second"]) if found else None
