"""The audits in MongoDB."""

from collections.abc import Sequence

from pymongo import DESCENDING

from shared.stores.audits import Audit
from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated


class MongoAudits:
    """Stores audits in MongoDB, one document for each audit; implements Audits.

    The document's `_id` is the time at which the audit began.
    """

    def __init__(self, database: Database) -> None:
        self._collection = database["audits"]

    async def newest(self, limit: int) -> Sequence[Audit]:
        with translated():
            documents = await self._collection.find({}, sort=[("_id", DESCENDING)], limit=limit).to_list(None)
        return [_from_document(document) for document in documents]

    async def save(self, audit: Audit) -> None:
        with translated():
            await self._collection.replace_one({"_id": audit.started_at}, _to_document(audit), upsert=True)


def _to_document(audit: Audit) -> Document:
    return {
        "finished_at": audit.finished_at,
        "feed": audit.feed,
        "bucket": audit.bucket,
        "after": audit.after,
        "listings": audit.listings,
        "objects": audit.objects,
        "drift": audit.drift,
    }


def _from_document(document: Document) -> Audit:
    return Audit(
        started_at=document["_id"],
        finished_at=document["finished_at"],
        feed=document["feed"],
        bucket=document["bucket"],
        after=document["after"],
        listings=document["listings"],
        objects=document["objects"],
        drift=document["drift"],
    )
