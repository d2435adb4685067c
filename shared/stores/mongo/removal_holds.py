"""The holds of removals in MongoDB."""

from collections.abc import Sequence
from datetime import datetime

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from shared.domain.listing import RemovalReason
from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated
from shared.stores.removal_holds import Decision, RemovalHold


class MongoRemovalHolds:
    """Stores the holds of removals in MongoDB, one document for each feed and reason; implements RemovalHolds."""

    def __init__(self, database: Database) -> None:
        self._collection = database["freezes"]

    async def all(self) -> Sequence[RemovalHold]:
        with translated():
            documents = await self._collection.find({}, sort=[("_id", ASCENDING)]).to_list(None)
        return [_from_document(document) for document in documents]

    async def begin(self, hold: RemovalHold) -> bool:
        query = {"_id": _id(hold.feed, hold.reason), "decision": {"$ne": None}}
        with translated():
            try:
                await self._collection.replace_one(query, _to_document(hold), upsert=True)
            except DuplicateKeyError:
                return False
        return True

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        query = {"_id": {"$in": [_id(feed, reason) for reason in RemovalReason]}, "decision": None}
        with translated():
            result = await self._collection.update_many(query, {"$set": {"decision": decision, "decided_at": now}})
        return int(result.modified_count)


def _id(feed: str, reason: RemovalReason) -> str:
    return f"{feed}\n{reason}"


def _to_document(hold: RemovalHold) -> Document:
    return {
        "feed": hold.feed,
        "reason": hold.reason,
        "at": hold.at,
        "since": hold.since,
        "hidden": hold.hidden,
        "displayed": hold.displayed,
        "by_sweep": hold.by_sweep,
        "decision": hold.decision,
        "decided_at": hold.decided_at,
    }


def _from_document(document: Document) -> RemovalHold:
    """Return the hold of a MongoDB document. Documents of the first releases have no `by_sweep`: it counts as False."""
    decision = document["decision"]
    return RemovalHold(
        feed=document["feed"],
        reason=RemovalReason(document["reason"]),
        at=document["at"],
        since=document["since"],
        hidden=document["hidden"],
        displayed=document["displayed"],
        by_sweep=document.get("by_sweep", False),
        decision=Decision(decision) if decision else None,
        decided_at=document["decided_at"],
    )
