"""The leases in MongoDB."""

from collections.abc import Mapping
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from shared.stores.mongo.connection import Database, translated


class MongoLeases:
    """Stores leases on loops in MongoDB, one document for each lease; implements Leases."""

    def __init__(self, database: Database) -> None:
        self._collection = database["leases"]

    async def hold(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        free = {"_id": name, "$or": [{"holder": holder}, {"until": {"$lte": now}}]}
        with translated():
            try:
                taken = {"$set": {"holder": holder}, "$max": {"until": until}}
                await self._collection.update_one(free, taken, upsert=True)
            except DuplicateKeyError:
                return False
        return True

    async def release(self, name: str, holder: str) -> None:
        with translated():
            await self._collection.delete_one({"_id": name, "holder": holder})

    async def holders(self, now: datetime) -> Mapping[str, str]:
        with translated():
            held = await self._collection.find({"until": {"$gt": now}}).to_list(None)
        return {document["_id"]: document["holder"] for document in held}
