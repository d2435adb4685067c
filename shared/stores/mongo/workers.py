"""The workers' names and addresses in MongoDB."""

from shared.stores.mongo.connection import Database, translated
from shared.stores.workers import Worker


class MongoWorkers:
    """Stores workers in MongoDB, one document for each name; implements Workers."""

    def __init__(self, database: Database) -> None:
        self._collection = database["workers"]

    async def get(self, name: str) -> Worker | None:
        with translated():
            found = await self._collection.find_one({"_id": name})
        return Worker(name, found["url"], found["token"]) if found else None

    async def put(self, worker: Worker) -> None:
        with translated():
            document = {"url": worker.url, "token": worker.token}
            await self._collection.replace_one({"_id": worker.name}, document, upsert=True)
