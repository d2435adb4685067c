"""The counts of refreshed photos in MongoDB: the collection `refreshes`, one document for each feed."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument

from shared.stores.mongo.connection import Database, translated

_THIS_HOUR = {"$dateTrunc": {"date": "$$NOW", "unit": "hour"}}


class MongoRefreshes:
    """Counts refreshed photos of feeds, in each hour of MongoDB's clock; implements Refreshes."""

    def __init__(self, database: Database) -> None:
        self._collection = database["refreshes"]

    async def take(self, feed: str, photos: int, allowed: int) -> bool:
        update: Sequence[Mapping[str, Any]] = [
            {"$set": {"hour": _THIS_HOUR, "used": {"$cond": [{"$eq": ["$hour", _THIS_HOUR]}, "$used", 0]}}},
            {"$set": {"taken": {"$lte": [{"$add": ["$used", photos]}, allowed]}}},
            {"$set": {"used": {"$cond": ["$taken", {"$add": ["$used", photos]}, "$used"]}}},
        ]
        with translated():
            found = await self._collection.find_one_and_update(
                {"_id": feed}, update, upsert=True, return_document=ReturnDocument.AFTER
            )
        return bool(found["taken"])
