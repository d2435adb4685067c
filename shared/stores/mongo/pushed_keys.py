"""The pushed keys in MongoDB: the collection `pushed_keys`, one document for each key."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DeleteOne, UpdateOne

from shared.stores.mongo.connection import Database, translated
from shared.stores.pushed_keys import PushedKey, Resource


class MongoPushedKeys:
    """Stores pushed keys of feeds in MongoDB; implements PushedKeys."""

    def __init__(self, database: Database) -> None:
        self._collection = database["pushed_keys"]

    async def put(self, feed: str, keys: Collection[PushedKey], now: datetime) -> None:
        writes = [UpdateOne({"_id": _id(feed, key)}, {"$set": {"feed": feed, "at": now}}, upsert=True) for key in keys]
        if writes:
            with translated():
                await self._collection.bulk_write(writes, ordered=False)

    async def oldest(self, feed: str, limit: int) -> Sequence[tuple[PushedKey, datetime]]:
        with translated():
            found = await self._collection.find({"feed": feed}).sort("at", ASCENDING).limit(limit).to_list(None)
        return [
            (PushedKey(Resource(document["_id"]["resource"]), document["_id"]["key"]), document["at"])
            for document in found
        ]

    async def remove(self, feed: str, keys: Collection[tuple[PushedKey, datetime]]) -> None:
        if writes := [DeleteOne({"_id": _id(feed, key), "at": at}) for key, at in keys]:
            with translated():
                await self._collection.bulk_write(writes, ordered=False)


def _id(feed: str, key: PushedKey) -> dict[str, Any]:
    return {"feed": feed, "resource": key.resource.value, "key": key.key}
