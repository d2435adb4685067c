"""The ledgers of origin budgets in MongoDB: the collection `budgets`."""

from collections.abc import Mapping

from shared.stores.documents import Document
from shared.stores.ledgers import StoredLedger
from shared.stores.mongo.connection import Database, translated


class MongoLedgers:
    """Stores the ledgers of origin budgets in MongoDB, one document for each feed; implements Ledgers.

    The `now` of a reading is the MongoDB server's time.
    """

    def __init__(self, database: Database) -> None:
        self._collection = database["budgets"]

    async def get(self, feed: str) -> StoredLedger:
        with translated():
            while not (found := await self._read(feed)):
                # If two upserts by _id alone arrive at once, the server retries the second.
                unused = {"$setOnInsert": {"ledger": {}, "revision": 0}}
                await self._collection.update_one({"_id": feed}, unused, upsert=True)
        return StoredLedger(found[0]["ledger"], found[0]["revision"], found[0]["now"])

    async def _read(self, feed: str) -> list[Document]:
        pipeline = [{"$match": {"_id": feed}}, {"$set": {"now": "$$NOW"}}]
        return list(await self._collection.aggregate(pipeline).to_list(1))

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        query = {"_id": feed, "revision": expected_revision}
        change = {"$set": {"ledger": document, "revision": expected_revision + 1}}
        with translated():
            return bool((await self._collection.update_one(query, change)).matched_count)
