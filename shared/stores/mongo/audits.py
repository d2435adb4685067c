"""The audits in MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict

from pymongo import DESCENDING

from shared.stores.audits import Audit
from shared.stores.mongo.connection import Database, translated


class MongoAudits:
    """The audits in MongoDB: one document each."""

    def __init__(self, database: Database) -> None:
        self._collection = database["audits"]

    async def newest(self, limit: int) -> Sequence[Audit]:
        """Return the newest audits, newest first."""
        with translated():
            documents = await self._collection.find({}, sort=[("_id", DESCENDING)], limit=limit).to_list(None)
        return [Audit(started_at=document.pop("_id"), **document) for document in documents]

    async def save(self, audit: Audit) -> None:
        """Write an audit as it now stands."""
        document = asdict(audit)
        with translated():
            await self._collection.replace_one({"_id": document.pop("started_at")}, document, upsert=True)
