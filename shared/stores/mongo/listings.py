"""The listings in MongoDB: the truth of the system."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from pymongo import ASCENDING, ReplaceOne
from pymongo.errors import BulkWriteError

from shared.domain.image import Status
from shared.domain.listing import UNTIL_DECIDED, Listing, Recorded, RemovalReason
from shared.domain.priority import Priority
from shared.render import Renderer
from shared.stores import summaries
from shared.stores.documents import RECORDED, Document, ListingId, document_id, from_document, recorded, to_document
from shared.stores.listings import FeedCounts
from shared.stores.mongo.connection import Database, translated
from shared.stores.mongo.indexes import COUNTED
from shared.stores.summaries import ListingSummary, Wanted

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Before everything: a range that an index answers by itself, where `$exists` reads the documents."""
_LAST_CHARACTER = "\U0010ffff"
_LONGEST_SEARCH_MS = 5_000
_Fields: TypeAlias = Sequence[str] | Mapping[str, int]
_FACTS: _Fields = {"rendered": 0}
"""All of a listing but its answers, which are made of it: half of its bytes."""
_COUNTED_AT_ONCE = 5_000
"""Listings: a server with little to spare counts so many in some ten milliseconds."""
_DUPLICATE_KEY = 11_000


class MongoListings:
    """The listings in MongoDB."""

    def __init__(self, database: Database, renderer: Renderer) -> None:
        self._collection = database["listings"]
        self._renderer = renderer

    async def get(self, feed: str, listing_key: str) -> Listing | None:
        """Return one listing, or None."""
        return (await self.get_many([(feed, listing_key)])).get((feed, listing_key))

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        """Return those of the listings that are recorded."""
        found = await self._find({"_id": {"$in": [document_id(*one) for one in ids]}})
        return {(listing.feed, listing.key): listing for listing in found}

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        """Write each listing unless another revision is recorded by now; return the ids of those that were refused."""
        documents = [to_document(one, one.revision + 1, self._renderer) for one in listings]
        if not documents:
            return ()
        # Where the revision is another, nothing matches, and to insert fails by the id: of a mere update the answer
        # to a bulk does not say which ones matched, and what is read afterwards may be the next writer's already.
        requests = [
            ReplaceOne({"_id": one["_id"], "revision": one["revision"] - 1}, one, upsert=True) for one in documents
        ]
        with translated():
            try:
                await self._collection.bulk_write(requests, ordered=False)
            except BulkWriteError as fault:
                errors = (fault.details or {}).get("writeErrors", [])
                if not errors or any(error["code"] != _DUPLICATE_KEY for error in errors):
                    raise
                refused = [documents[error["index"]] for error in errors]
                return {(one["feed"], one["listing_key"]) for one in refused}
        return ()

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        """Return a feed's listings by key, those after the key given; "" begins."""
        query = {"listing_key": {"$gt": after}, "feed": feed}
        return await self._find(query, sort=[("listing_key", ASCENDING)], limit=limit)

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return listings with due photos, most urgent first, the longest due first among equals."""
        return [from_document(one) for one in await self._most_urgent(feed, now, limit)]

    async def _most_urgent(
        self, feed: str, now: datetime, limit: int, fields: _Fields = _FACTS, milliseconds: int | None = None
    ) -> list[Document]:
        """Read one priority after the other, each from its own index, until there are enough."""
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
                found |= {one["_id"]: one for one in await cursor.to_list(None)}
        return list(found.values())

    async def oldest_due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return listings with due photos by age alone."""
        query = {"feed": feed, "due_at": {"$lte": now}}
        return await self._find(query, sort=[("due_at", ASCENDING)], limit=limit, hint="due_by_age")

    async def in_work(self, feed: str, now: datetime) -> int:
        """Return how many photos are released and unfinished, of listings whose lease has not ended."""
        pipeline: list[Document] = [
            {"$match": {"feed": feed, "leased_until": {"$gt": now}}},
            {"$group": {"_id": None, "sum": {"$sum": "$in_work"}}},
        ]
        rows = await self._aggregate(pipeline, hint="in_work")
        return rows[0]["sum"] if rows else 0

    async def ahead_of(self, feed: str, priority: Priority, due_at: datetime, now: datetime) -> int:
        """Return how many photos have their turn before one that is due then, counted in the index."""
        more_urgent = [one for one in Priority if one.rank < priority.rank]
        ahead = [(priority, {"$lt": due_at}), *((one, {"$lte": max(due_at, now)}) for one in more_urgent)]
        pipelines: list[tuple[list[Document], str]] = [
            (
                [
                    {"$match": {"feed": feed, f"queue.{one}.due_at": earlier}},
                    {"$group": {"_id": None, "sum": {"$sum": f"$queue.{one}.photos"}}},
                ],
                f"due_{one}",
            )
            for one, earlier in ahead
        ]
        found = await asyncio.gather(*(self._aggregate(pipeline, hint) for pipeline, hint in pipelines))
        return sum(row["sum"] for rows in found for row in rows)

    async def recorded(self, ids: Collection[ListingId]) -> Mapping[ListingId, Recorded]:
        """Return what was last said of those of the listings that are recorded."""
        query = {"_id": {"$in": [document_id(*one) for one in ids]}}
        with translated():
            found = await self._collection.find(query, dict.fromkeys(RECORDED, 1)).to_list(None)
        return {(document["feed"], document["listing_key"]): recorded(document) for document in found}

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        """Return the keys of a feed's displayed listings in their order, from the index alone."""
        query = {"listing_key": {"$gt": after}, "feed": feed, "displayed": True}
        with translated():
            cursor = self._collection.find(
                query, {"_id": 0, "listing_key": 1}, sort=[("listing_key", ASCENDING)], limit=limit, hint="counted"
            )
            return [document["listing_key"] for document in await cursor.to_list(None)]

    async def recheck_due(self, feed: str, before: datetime, limit: int) -> Sequence[Listing]:
        """Return listings with copies that were last asked for before that time, the longest ago first."""
        query = {"feed": feed, "checked_at": {"$lte": before}}
        return await self._find(query, sort=[("checked_at", ASCENDING)], limit=limit, hint="recheck_due")

    async def recheck_count(self, feed: str, before: datetime) -> int:
        """Return of how many listings there are copies that were last asked for before that time."""
        with translated():
            query = {"feed": feed, "checked_at": {"$lte": before}}
            return int(await self._collection.count_documents(query, hint="recheck_due"))

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        """Return listings of which something must be removed, the longest due first."""
        query = {"removal_due_at": {"$lte": now}}
        return await self._find(query, sort=[("removal_due_at", ASCENDING)], limit=limit, hint="removal_due")

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        """Return how many displayed listings turned hidden after `since`, up to `until`, and still are."""
        within = {"$gt": since, "$lte": until}
        query = {"feed": feed, "hidden.reason": reason, "hidden.was_displayed": True, "hidden.since": within}
        return await self._count(query, hint="turned_hidden")

    async def feeds(self) -> Sequence[str]:
        """Return the names of the feeds that listings are recorded of: of each one key of the index is read."""
        names = [""]
        with translated():
            while found := await self._collection.find(
                {"feed": {"$gt": names[-1]}}, {"_id": 0, "feed": 1}, sort=[("feed", ASCENDING)], limit=1, hint="counted"
            ).to_list(None):
                names.append(found[0]["feed"])
        return names[1:]

    async def displayed(self, feed: str) -> int:
        """Return how many of a feed's listings are displayed."""
        return await self._count({"feed": feed, "displayed": True}, hint="counted")

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        """Return hidden listings whose copies are held until an operator decides."""
        query = {"feed": feed, "hidden.reason": reason, "hidden.held_until": UNTIL_DECIDED}
        return await self._find(query, limit=limit, hint="held")

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        """Return listings of which the worker has photos in hand."""
        return await self._find({"photos.claim.worker": worker}, limit=limit, hint="claimed")

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        """Return the listings with this key, of every feed."""
        return await self._find({"listing_key": listing_key})

    async def by_image(self, image_id: str) -> Listing | None:
        """Return the listing that shows the image."""
        return next(iter(await self._find({"photos.id": image_id}, limit=1)), None)

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        """Return the listings with a photo announced under this URL."""
        return await self._find({"photos.url_keys": url_key})

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        """Count a feed's listings, images and queue, from indexes alone.

        Some thousand listings a question, so that whatever else is asked meanwhile need not wait for all of them. What
        changes between two questions may be counted as it was or as it is.
        """
        rows = [row for displayed in (True, False) async for row in self._tally(feed, displayed=displayed)]
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
            in_work=await self.in_work(feed, now),
            oldest_due_at=oldest[0]["due_at"] if oldest else None,
        )

    async def _tally(self, feed: str, *, displayed: bool) -> AsyncIterator[Document]:
        """Yield sums over some thousand listings each."""
        after, sums = "", {name.split(".")[1]: {"$sum": f"${name}"} for name in COUNTED}
        group = {"_id": None, "listings": {"$sum": 1}, **sums}
        while True:
            rows = await self._aggregate(
                [
                    {"$match": {"feed": feed, "displayed": displayed, "listing_key": {"$gt": after}}},
                    {"$sort": {"listing_key": ASCENDING}},
                    {"$limit": _COUNTED_AT_ONCE},
                    {"$group": group | {"last": {"$max": "$listing_key"}}},
                ],
                hint="counted",
            )
            for row in rows:
                yield {**row, "displayed": displayed}
            if sum(row["listings"] for row in rows) < _COUNTED_AT_ONCE:
                return
            after = max(row["last"] for row in rows)

    async def search(self, wanted: Wanted, after: str, limit: int) -> Sequence[ListingSummary]:
        """Return listings by key, those after the key given; "" begins."""
        query: Document = {"feed": wanted.feed, "listing_key": {"$gt": after}}
        if wanted.prefix:
            query["listing_key"] |= {"$gte": wanted.prefix, "$lt": f"{wanted.prefix}{_LAST_CHARACTER}"}
        # The rarest first: its index is read, and what else is asked for is looked at in what it leads to.
        filters = [
            ("photos.failure.reason", wanted.reason and wanted.reason.value, "by_failure"),
            ("displayed", wanted.displayed, "listing_key_1_feed_1" if wanted.displayed else "hidden"),
            ("photos.status", wanted.status and wanted.status.value, "by_status"),
            ("city", wanted.city, "by_city"),
        ]
        asked = [one for one in filters if one[1] is not None]
        query |= {name: value for name, value, _ in asked}
        hint = next((hint for *_, hint in asked if hint != "listing_key_1_feed_1"), "listing_key_1_feed_1")
        return await self._rows(query, [("listing_key", ASCENDING)], limit, hint)

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[ListingSummary]:
        """Return listings with due photos in the order of `due`, or by age alone."""
        query: Document = {"feed": feed, "due_at": {"$lte": now}}
        if by_age:
            return await self._rows(query, [("due_at", ASCENDING)], limit, "due_by_age")
        found = await self._most_urgent(feed, now, limit, summaries.FIELDS, _LONGEST_SEARCH_MS)
        return [summaries.from_document(one) for one in found]

    async def coming(self, feed: str, now: datetime, limit: int) -> Sequence[ListingSummary]:
        """Return listings whose next attempt is yet to come, or being made, soonest first."""
        query = {"feed": feed, "due_at": {"$gt": now}}
        return await self._rows(query, [("due_at", ASCENDING)], limit, "due_by_age")

    async def _rows(self, query: Document, sort: list[tuple[str, int]], limit: int, hint: str) -> list[ListingSummary]:
        with translated():
            cursor = self._collection.find(
                query, summaries.FIELDS, sort=sort, limit=limit, hint=hint, max_time_ms=_LONGEST_SEARCH_MS
            )
            return [summaries.from_document(document) for document in await cursor.to_list(None)]

    async def _find(
        self, query: Document, sort: list[tuple[str, int]] | None = None, limit: int = 0, hint: str | None = None
    ) -> list[Listing]:
        with translated():
            cursor = self._collection.find(query, _FACTS, limit=limit, sort=sort, hint=hint)
            return [from_document(document) for document in await cursor.to_list(None)]

    async def _count(self, query: Document, hint: str) -> int:
        with translated():
            return int(await self._collection.count_documents(query, hint=hint))

    async def _aggregate(self, pipeline: list[Document], hint: str) -> list[Document]:
        with translated():
            return list(await self._collection.aggregate(pipeline, hint=hint).to_list(None))
