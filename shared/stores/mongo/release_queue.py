"""The scheduler's queries on the listings in MongoDB."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from pymongo import ASCENDING

from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.documents import Document
from shared.stores.mongo.connection import translated
from shared.stores.mongo.listing_records import FACTS, Fields, MongoListingRecords
from shared.stores.mongo.quarantine import readable


class MongoReleaseQueue(MongoListingRecords):
    """Finds listings in MongoDB whose photos are due or in flight; implements ReleaseQueue for the scheduler."""

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        return await readable(self._collection, await self._most_urgent(feed, now, limit))

    async def _most_urgent(
        self, feed: str, now: datetime, limit: int, fields: Fields = FACTS, milliseconds: int | None = None
    ) -> list[Document]:
        """Return the documents of up to `limit` listings of a feed with photos due at `now`, the most urgent first.

        Of listings with the same priority, the one that is due longest comes first. `fields` is MongoDB's projection:
        which fields the documents have. Each priority has an index and takes one query. Raises StoreUnavailable if the
        database does not answer, or if one query takes longer than `milliseconds`; None sets no limit.
        """
        found: dict[str, Document] = {}
        for priority in Priority:
            if len(found) >= limit:
                break
            due_at = f"queue.{priority}.due_at"
            with translated():
                cursor = self._collection.find(
                    {"feed": feed, due_at: {"$lte": now}}, fields, sort=[(due_at, ASCENDING)],
                    limit=limit - len(found), hint=f"due_{priority}", max_time_ms=milliseconds,
                )  # fmt: skip
                found |= {document["_id"]: document for document in await cursor.to_list(None)}
        return list(found.values())

    async def oldest_due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        query = {"feed": feed, "due_at": {"$lte": now}}
        return await self._queued(query, sort=[("due_at", ASCENDING)], limit=limit, hint="due_by_age")

    async def in_flight(self, feed: str, now: datetime) -> int:
        pipeline: list[Document] = [
            {"$match": {"feed": feed, "leased_until": {"$gt": now}}},
            {"$group": {"_id": None, "sum": {"$sum": "$in_work"}}},
        ]
        rows = await self._aggregate(pipeline, hint="in_work")
        return rows[0]["sum"] if rows else 0

    async def ahead_of(self, feed: str, priority: Priority, due_at: datetime, now: datetime) -> int:
        more_urgent = [other for other in Priority if other.rank < priority.rank]
        ahead = [(priority, {"$lt": due_at}), *((other, {"$lte": max(due_at, now)}) for other in more_urgent)]
        pipelines: list[tuple[list[Document], str]] = [
            (
                [
                    {"$match": {"feed": feed, f"queue.{queue}.due_at": earlier}},
                    {"$group": {"_id": None, "sum": {"$sum": f"$queue.{queue}.photos"}}},
                ],
                f"due_{queue}",
            )
            for queue, earlier in ahead
        ]
        found = await asyncio.gather(*(self._aggregate(pipeline, hint) for pipeline, hint in pipelines))
        return sum(row["sum"] for rows in found for row in rows)

    async def recheck_due(self, feed: str, before: datetime, limit: int) -> Sequence[Listing]:
        query = {"feed": feed, "checked_at": {"$lte": before}}
        return await self._queued(query, sort=[("checked_at", ASCENDING)], limit=limit, hint="recheck_due")

    async def recheck_count(self, feed: str, before: datetime) -> int:
        with translated():
            query = {"feed": feed, "checked_at": {"$lte": before}}
            return int(await self._collection.count_documents(query, hint="recheck_due"))
