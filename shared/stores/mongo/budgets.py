"""The ledgers of budgets in MongoDB."""

from collections.abc import Mapping

from shared.stores.budgets import Stored
from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated


class MongoBudgets:
    """The ledgers in MongoDB: one document a feed, read together with the server's clock."""

    def __init__(self, database: Database) -> None:
        self._collection = database["budgets"]

    async def get(self, feed: str) -> Stored:
        """Return the feed's ledger, an empty one before the first write."""
        with translated():
            while not (rows := await self._read(feed)):
                # An upsert by _id alone is retried by the server where two come at once.
                begun = {"$setOnInsert": {"ledger": {}, "revision": 0}}
                await self._collection.update_one({"_id": feed}, begun, upsert=True)
        return Stored(rows[0]["ledger"], rows[0]["revision"], rows[0]["now"])

    async def _read(self, feed: str) -> list[Document]:
        pipeline = [{"$match": {"_id": feed}}, {"$set": {"now": "$$NOW"}}]
        return list(await self._collection.aggregate(pipeline).to_list(1))

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        """Write the ledger if its revision is still the expected one; False where another was faster."""
        query = {"_id": feed, "revision": expected_revision}
        change = {"$set": {"ledger": document, "revision": expected_revision + 1}}
        with translated():
            return bool((await self._collection.update_one(query, change)).matched_count)
