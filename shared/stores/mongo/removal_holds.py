"""The freezes in MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from shared.domain.listing import RemovalReason
from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated
from shared.stores.removal_holds import Decision, RemovalHold


class MongoRemovalHolds:
    """The freezes in MongoDB: one document a feed and reason."""

    def __init__(self, database: Database) -> None:
        self._collection = database["freezes"]

    async def all(self) -> Sequence[RemovalHold]:
        """Return the last freeze of each feed and reason, by feed."""
        with translated():
            documents = await self._collection.find({}, sort=[("_id", ASCENDING)]).to_list(None)
        return [_freeze(document) for document in documents]

    async def begin(self, freeze: RemovalHold) -> bool:
        """Record a freeze; False where one of the same feed and reason is in force already."""
        query = {"_id": f"{freeze.feed}\n{freeze.reason}", "decision": {"$ne": None}}
        with translated():
            try:
                await self._collection.replace_one(query, asdict(freeze), upsert=True)
            except DuplicateKeyError:
                return False
        return True

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        """Decide about a feed's freezes in force; return how many there were."""
        query = {"_id": {"$in": [f"{feed}\n{reason}" for reason in RemovalReason]}, "decision": None}
        with translated():
            result = await self._collection.update_many(query, {"$set": {"decision": decision, "decided_at": now}})
        return int(result.modified_count)


def _freeze(document: Document) -> RemovalHold:
    decision = document.pop("decision")
    return RemovalHold(
        reason=RemovalReason(document.pop("reason")),
        decision=Decision(decision) if decision else None,
        **{name: value for name, value in document.items() if name != "_id"},
    )
