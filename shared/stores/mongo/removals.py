"""The evidence of removals in MongoDB."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from pymongo import ASCENDING, DESCENDING, UpdateOne

from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated
from shared.stores.removals import Removal, RemovalCursor, removal_facts


class MongoRemovals:
    """Stores the evidence of removals in MongoDB, one document for each removal; implements Removals."""

    def __init__(self, database: Database) -> None:
        self._collection = database["removals"]

    async def add(self, removals: Sequence[Removal]) -> None:
        if removals:
            documents = [removal_facts(removal) for removal in removals]
            requests = [
                UpdateOne({"_id": document.pop("id")}, {"$setOnInsert": document}, upsert=True)
                for document in documents
            ]
            with translated():
                await self._collection.bulk_write(requests, ordered=False)

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        with translated():
            query = {"listing_key": listing_key, "feed": feed}
            documents = await self._collection.find(query, sort=[("removed_at", ASCENDING)]).to_list(None)
        return [_from_document(document) for document in documents]

    async def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        query: Document = {"removed_at": {"$gte": begin, "$lt": end}, **({"feed": feed} if feed else {})}
        hint = "evidence_of_feed" if feed else "evidence"
        with translated():
            async for document in self._collection.find(query, sort=[("removed_at", ASCENDING)], hint=hint):
                yield _from_document(document)

    async def newest(
        self, begin: datetime, end: datetime, feed: str | None, after: RemovalCursor | None, limit: int
    ) -> Sequence[Removal]:
        query: Document = {"removed_at": {"$gte": begin, "$lt": end}, **({"feed": feed} if feed else {})}
        if after:
            at, removal_id = after
            query["removed_at"]["$lte"] = at
            query["$or"] = [{"removed_at": {"$lt": at}}, {"_id": {"$lt": removal_id}}]
        order = [("removed_at", DESCENDING), ("_id", DESCENDING)]
        hint = "evidence_of_feed" if feed else "evidence"
        with translated():
            documents = await self._collection.find(query, sort=order, hint=hint, limit=limit).to_list(None)
        return [_from_document(document) for document in documents]


def _from_document(document: Document) -> Removal:
    """Return the evidence in a MongoDB document.

    The fields that the code reads with `get` are missing in documents of the first releases.
    """
    return Removal(
        id=document["_id"],
        feed=document["feed"],
        listing_key=document["listing_key"],
        image_id=document["image_id"],
        reason=document["reason"],
        hidden_at=document["hidden_at"],
        removed_at=document["removed_at"],
        objects=document["objects"],
        mls_status=document.get("mls_status"),
        off_market_at=document.get("left_at"),
        unshown_at=document.get("record_gone_at"),
        remained=tuple(document.get("remained", ())),
    )
