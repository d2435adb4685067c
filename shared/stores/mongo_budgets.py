"""The budgets in MongoDB: one document a feed, read together with the server's clock."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Protocol, TypedDict

from shared.stores.budgets import Stored


class _Row(TypedDict):
    ledger: Mapping[str, object]
    revision: int
    now: datetime


class _Rows(Protocol):
    async def to_list(self, length: int | None) -> list[_Row]: ...


class _Updated(Protocol):
    @property
    def matched_count(self) -> int: ...


class _Collection(Protocol):
    def aggregate(self, pipeline: Sequence[Mapping[str, object]]) -> _Rows: ...

    async def update_one(
        self, query: Mapping[str, object], update: Mapping[str, object], *, upsert: bool = False
    ) -> _Updated: ...


class Database(Protocol):
    """What is needed of Motor's database, so that Motor itself stays behind its own door."""

    def __getitem__(self, name: str) -> _Collection: ...


class MongoBudgets:
    """The ledgers in MongoDB."""

    def __init__(
        self, database: Database, translated: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        """Take the database, and the context that turns the driver's exceptions into the stores' own."""
        self._collection = database["budgets"]
        self._translated = translated

    async def get(self, feed: str) -> Stored:
        """Return the feed's ledger, an empty one before the first write."""
        with self._translated():
            while not (rows := await self._read(feed)):
                # An upsert by _id alone is retried by the server where two come at once.
                begun = {"$setOnInsert": {"ledger": {}, "revision": 0}}
                await self._collection.update_one({"_id": feed}, begun, upsert=True)
        return Stored(rows[0]["ledger"], rows[0]["revision"], _aware(rows[0]["now"]))

    async def _read(self, feed: str) -> list[_Row]:
        pipeline = [{"$match": {"_id": feed}}, {"$set": {"now": "$$NOW"}}]
        return await self._collection.aggregate(pipeline).to_list(1)

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        """Write the ledger if its revision is still the expected one; False where another was faster."""
        query = {"_id": feed, "revision": expected_revision}
        change = {"$set": {"ledger": document, "revision": expected_revision + 1}}
        with self._translated():
            return (await self._collection.update_one(query, change)).matched_count == 1


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
