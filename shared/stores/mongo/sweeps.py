"""The sweeps in MongoDB."""

from pymongo.errors import DuplicateKeyError

from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated
from shared.stores.sweeps import Found, Sweep, SweepRequest


class MongoSweeps:
    """Implements Sweeps: one document for each feed."""

    def __init__(self, database: Database) -> None:
        self._collection = database["sweeps"]

    async def get(self, feed: str) -> Sweep:
        with translated():
            document = await self._collection.find_one({"_id": feed})
        return _from_document(document) if document else Sweep(feed=feed)

    async def write(self, sweep: Sweep) -> bool:
        query = {"_id": sweep.feed, "revision": sweep.revision}
        change = {"$set": _to_document(sweep) | {"revision": sweep.revision + 1}}
        with translated():
            try:
                result = await self._collection.update_one(query, change, upsert=sweep.revision == 0)
            except DuplicateKeyError:
                return False
        return bool(result.matched_count or result.upserted_id)

    async def ask(self, feed: str, wish: SweepRequest) -> None:
        document = {"at": wish.at, "dry_run": wish.dry_run}
        change = {"$set": {"wish": document}, "$setOnInsert": {"revision": 0}}
        with translated():
            await self._collection.update_one({"_id": feed}, change, upsert=True)


def _to_document(sweep: Sweep) -> Document:
    """Return what a sweep stores: all but its feed, which is the id, its revision, and the operator's request."""
    return {
        "answered": sweep.answered,
        "swept": sweep.swept,
        "finished_at": sweep.finished_at,
        "followed_at": sweep.followed_at,
        "reached": sweep.reached,
        "found": {
            "compared": sweep.found.compared,
            "asked_for": sweep.found.asked_for,
            "missing": sweep.found.missing,
            "left": sweep.found.left,
            "published": sweep.found.published,
            "gone": sweep.found.gone,
        },
        "error": sweep.error,
        "failures": sweep.failures,
        "try_again_at": sweep.try_again_at,
        "compare_again_at": sweep.compare_again_at,
    }


def _from_document(document: Document) -> Sweep:
    """Read a sweep. A feed that was never swept has only a request and a revision."""
    wish, found = document.get("wish"), document.get("found", {})
    return Sweep(
        feed=document["_id"],
        revision=document["revision"],
        wish=SweepRequest(at=wish["at"], dry_run=wish["dry_run"]) if wish else None,
        answered=document.get("answered"),
        swept=document.get("swept"),
        finished_at=document.get("finished_at"),
        followed_at=document.get("followed_at"),
        reached=document.get("reached", {}),
        found=Found(
            compared=found.get("compared", 0),
            asked_for=found.get("asked_for", 0),
            missing=found.get("missing", 0),
            left=found.get("left", 0),
            published=found.get("published", 0),
            gone=found.get("gone", 0),
        ),
        error=document.get("error", ""),
        failures=document.get("failures", 0),
        try_again_at=document.get("try_again_at"),
        compare_again_at=document.get("compare_again_at"),
    )
