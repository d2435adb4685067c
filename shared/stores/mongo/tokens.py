"""The tokens of MLSs in MongoDB: the collection `tokens`."""

from shared.stores.mongo.connection import Database, translated
from shared.stores.tokens import StoredToken


class MongoTokens:
    """Stores the tokens of MLSs in MongoDB, one document for each feed; implements Tokens."""

    def __init__(self, database: Database) -> None:
        self._collection = database["tokens"]

    async def get(self, feed: str) -> StoredToken | None:
        with translated():
            found = await self._collection.find_one({"_id": feed})
        return StoredToken(found["sealed"], found["issued_at"], found["ends_at"]) if found else None

    async def put(self, feed: str, token: StoredToken) -> None:
        document = {"sealed": token.sealed, "issued_at": token.issued_at, "ends_at": token.ends_at}
        with translated():
            await self._collection.replace_one({"_id": feed}, document, upsert=True)
