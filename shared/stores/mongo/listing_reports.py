"""Counts and tables of the listings in MongoDB."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from pymongo import ASCENDING

from shared.domain.image import Status
from shared.domain.priority import Priority
from shared.stores import summaries
from shared.stores.documents import Document
from shared.stores.listing_reports import FeedCounts
from shared.stores.mongo.connection import translated
from shared.stores.mongo.indexes import COUNTED
from shared.stores.mongo.listing_records import MAX_SEARCH_MILLISECONDS
from shared.stores.mongo.release_queue import MongoReleaseQueue
from shared.stores.summaries import ListingSummary

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Earlier than all times: a range from here is answered by the index alone, while `$exists` reads the documents."""
_COUNT_BATCH_SIZE = 5_000
"""Listings in a batch; even a small server counts these in tens of milliseconds."""


class MongoListingReports(MongoReleaseQueue):
    """Counts listings and photos in MongoDB, and lists what is in the queue; implements ListingReports."""

    async def quarantined_count(self, feed: str) -> int:
        return await self._count({"feed": feed, "quarantined.at": {"$gt": _BEGINNING}}, hint="quarantined")

    async def feeds(self) -> Sequence[str]:
        # One index key is read for each feed; `distinct` would read all of them.
        names = [""]
        with translated():
            while found := await self._collection.find(
                {"feed": {"$gt": names[-1]}}, {"_id": 0, "feed": 1}, sort=[("feed", ASCENDING)], limit=1, hint="counted"
            ).to_list(None):
                names.append(found[0]["feed"])
        return names[1:]

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        """Count a feed's recorded listings and photos, and the photos in its queue at `now`.

        The numbers are read from indexes alone, and in batches, so that other queries do not wait long. A listing that
        changes meanwhile may be counted as it was before the change or after. Raises StoreUnavailable.
        """
        rows = [row for displayed in (True, False) async for row in self._count_batches(feed, displayed=displayed)]
        query = {"feed": feed, "due_at": {"$gte": _BEGINNING}}
        with translated():
            cursor = self._collection.find(query, {"_id": 0, "due_at": 1}, hint="due_by_age").sort("due_at").limit(1)
            oldest = await cursor.to_list(None)
        queued = {priority.value: sum(row[priority.value] for row in rows) for priority in Priority}
        return FeedCounts(
            listings=sum(row["listings"] for row in rows),
            displayed=sum(row["listings"] for row in rows if row["displayed"]),
            images={status: sum(row[status.value] for row in rows) for status in Status},
            queued={priority: photos for priority, photos in queued.items() if photos},
            in_flight=await self.in_flight(feed, now),
            oldest_due_at=oldest[0]["due_at"] if oldest else None,
        )

    async def _count_batches(self, feed: str, *, displayed: bool) -> AsyncIterator[Document]:
        """Yield rows of numbers, one for each batch of a feed's listings: displayed listings, or hidden ones.

        `displayed` is True for displayed listings, False for hidden ones. A row has under `listings` the number of
        listings in the batch, under the name of each status and priority the sum of its field in COUNTED, and
        `displayed` as it was passed. If the feed has no such listing, no row is yielded. Raises StoreUnavailable.
        """
        after, sums = "", {name.split(".")[1]: {"$sum": f"${name}"} for name in COUNTED}
        group = {"_id": None, "listings": {"$sum": 1}, **sums}
        while True:
            rows = await self._aggregate(
                [
                    {"$match": {"feed": feed, "displayed": displayed, "listing_key": {"$gt": after}}},
                    {"$sort": {"listing_key": ASCENDING}},
                    {"$limit": _COUNT_BATCH_SIZE},
                    {"$group": group | {"last": {"$max": "$listing_key"}}},
                ],
                hint="counted",
            )
            for row in rows:
                yield {**row, "displayed": displayed}
            if sum(row["listings"] for row in rows) < _COUNT_BATCH_SIZE:
                return
            after = max(row["last"] for row in rows)

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[ListingSummary]:
        query: Document = {"feed": feed, "due_at": {"$lte": now}}
        if by_age:
            return await self._summaries(query, [("due_at", ASCENDING)], limit, "due_by_age")
        found = await self._most_urgent(feed, now, limit, summaries.FIELDS, MAX_SEARCH_MILLISECONDS)
        return [summaries.from_document(document) for document in found]

    async def upcoming(self, feed: str, now: datetime, limit: int) -> Sequence[ListingSummary]:
        query = {"feed": feed, "due_at": {"$gt": now}}
        return await self._summaries(query, [("due_at", ASCENDING)], limit, "due_by_age")
