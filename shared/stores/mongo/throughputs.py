"""The throughputs of feeds in MongoDB: the collection `paces`."""

from shared.domain.throughput import Throughput
from shared.stores.mongo.connection import Database, translated


class MongoThroughputs:
    """Stores the latest throughput of feeds in MongoDB, one document for each feed; implements Throughputs."""

    def __init__(self, database: Database) -> None:
        self._collection = database["paces"]

    async def put(self, feed: str, throughput: Throughput) -> None:
        document = {"at": throughput.at, "finished_per_second": throughput.finished_per_second}
        with translated():
            await self._collection.replace_one({"_id": feed}, document, upsert=True)

    async def get(self, feed: str) -> Throughput | None:
        with translated():
            found = await self._collection.find_one({"_id": feed}, {"_id": 0})
        return Throughput(found["at"], found["finished_per_second"]) if found else None
