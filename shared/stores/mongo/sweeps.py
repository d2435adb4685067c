"""The sweeps in MongoDB."""

from pymongo.errors import DuplicateKeyError

from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated
from shared.stores.sweeps import SweepCounts, SweepRequest, SweepState, counts_to_json


class MongoSweeps:
    """Stores the progress of freshness sweeps in MongoDB, one document for each feed; implements Sweeps."""

    def __init__(self, database: Database) -> None:
        self._collection = database["sweeps"]

    async def get(self, feed: str) -> SweepState:
        with translated():
            document = await self._collection.find_one({"_id": feed})
        return _from_document(document) if document else SweepState(feed=feed)

    async def write(self, state: SweepState) -> bool:
        query = {"_id": state.feed, "revision": state.revision}
        change = {"$set": _to_document(state) | {"revision": state.revision + 1}}
        with translated():
            try:
                result = await self._collection.update_one(query, change, upsert=state.revision == 0)
            except DuplicateKeyError:
                return False
        return bool(result.matched_count or result.upserted_id)

    async def request(self, feed: str, request: SweepRequest) -> None:
        document = {"at": request.at, "dry_run": request.dry_run}
        change = {"$set": {"wish": document}, "$setOnInsert": {"revision": 0}}
        with translated():
            await self._collection.update_one({"_id": feed}, change, upsert=True)


def _to_document(state: SweepState) -> Document:
    """Return the stored fields that the scheduler writes for a sweep's state: all but feed, revision and request."""
    return {
        "answered": state.answered_request_at,
        "swept": state.last_finished_start,
        "finished_at": state.finished_at,
        "followed_at": state.followed_at,
        "reached": state.published_until,
        "found": counts_to_json(state.counts),
        "error": state.error,
        "failures": state.failures,
        "try_again_at": state.try_again_at,
        "compare_again_at": state.compare_again_at,
    }


def _from_document(document: Document) -> SweepState:
    """Return the state of sweeps in a MongoDB document.

    If an operator has asked for a sweep before the scheduler's first write, the document has only the request and the
    revision 0.
    """
    request, counts = document.get("wish"), document.get("found", {})
    return SweepState(
        feed=document["_id"],
        revision=document["revision"],
        request=SweepRequest(at=request["at"], dry_run=request["dry_run"]) if request else None,
        answered_request_at=document.get("answered"),
        last_finished_start=document.get("swept"),
        finished_at=document.get("finished_at"),
        followed_at=document.get("followed_at"),
        published_until=document.get("reached", {}),
        counts=SweepCounts(
            compared=counts.get("compared", 0),
            asked_for=counts.get("asked_for", 0),
            missing=counts.get("missing", 0),
            remaining=counts.get("left", 0),
            published=counts.get("published", 0),
            gone=counts.get("gone", 0),
        ),
        error=document.get("error", ""),
        failures=document.get("failures", 0),
        try_again_at=document.get("try_again_at"),
        compare_again_at=document.get("compare_again_at"),
    )
