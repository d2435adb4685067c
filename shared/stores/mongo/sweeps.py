"""The sweeps in MongoDB."""

from dataclasses import asdict

from pymongo.errors import DuplicateKeyError

from shared.stores.mongo.connection import Database, translated
from shared.stores.sweeps import Found, Sweep, SweepRequest


class MongoSweeps:
    """The sweeps in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["sweeps"]

    async def get(self, feed: str) -> Sweep:
        """Return the feed's sweeps, an empty record before the first write."""
        with translated():
            document = await self._collection.find_one({"_id": feed}, {"_id": 0})
        facts = document or {}
        if wish := facts.get("wish"):
            facts["wish"] = SweepRequest(**wish)
        if found := facts.get("found"):
            facts["found"] = Found(**found)
        return Sweep(feed=feed, **facts)

    async def write(self, sweep: Sweep) -> bool:
        """Write all but the wish if the revision is still the recorded one; False where another was faster."""
        facts = {name: value for name, value in asdict(sweep).items() if name not in {"feed", "wish"}}
        query = {"_id": sweep.feed, "revision": sweep.revision}
        change = {"$set": facts | {"revision": sweep.revision + 1}}
        with translated():
            try:
                result = await self._collection.update_one(query, change, upsert=sweep.revision == 0)
            except DuplicateKeyError:
                return False
        return bool(result.matched_count or result.upserted_id)

    async def ask(self, feed: str, wish: SweepRequest) -> None:
        """Leave a wish in place of any before it."""
        change = {"$set": {"wish": asdict(wish)}, "$setOnInsert": {"revision": 0}}
        with translated():
            await self._collection.update_one({"_id": feed}, change, upsert=True)
