"""Marked no-photo pictures in MongoDB."""

from collections.abc import Collection, Sequence

from pymongo import ASCENDING

from shared.stores.mongo.connection import Database, translated
from shared.stores.no_photos import NoPhoto


class MongoNoPhotos:
    """Stores in MongoDB which pictures are marked as no-photo pictures, one document for each; implements NoPhotos."""

    def __init__(self, database: Database) -> None:
        self._collection = database["no_photos"]

    async def mark(self, no_photo: NoPhoto) -> None:
        key = {"feed": no_photo.feed, "sha256": no_photo.sha256}
        with translated():
            await self._collection.update_one(key, {"$setOnInsert": {"marked_at": no_photo.marked_at}}, upsert=True)

    async def unmark(self, feed: str, sha256: str) -> bool:
        with translated():
            result = await self._collection.delete_one({"feed": feed, "sha256": sha256})
        return bool(result.deleted_count)

    async def all(self) -> Sequence[NoPhoto]:
        with translated():
            found = await self._collection.find().sort([("feed", ASCENDING), ("marked_at", ASCENDING)]).to_list(None)
        return [NoPhoto(document["feed"], document["sha256"], document["marked_at"]) for document in found]

    async def hashes(self, feed: str) -> Collection[str]:
        with translated():
            found = await self._collection.find({"feed": feed}, {"_id": False, "sha256": True}).to_list(None)
        return {document["sha256"] for document in found}
