"""The door to MongoDB: the only module that knows Motor and PyMongo."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, cast

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from shared.domain.image import Status
from shared.domain.listing import UNDECIDED, Listing, Recorded, RemovalReason
from shared.domain.pace import Pace
from shared.domain.priority import Priority
from shared.render import Renderer
from shared.stores import rows
from shared.stores.audits import Audit
from shared.stores.budgets import Stored
from shared.stores.documents import (
    RECORDED,
    Document,
    ListingId,
    announced_under,
    document_id,
    fragments_of,
    from_document,
    missing_of,
    recorded,
    to_document,
)
from shared.stores.errors import StoreUnavailable
from shared.stores.freezes import Decision, Freeze
from shared.stores.listings import Answer, FeedCounts, PhotoAnswer, ShownPhoto
from shared.stores.records import Attempt, Behind, Place, Removal, Tally
from shared.stores.rows import Row, Wanted
from shared.stores.sweeps import Found, Sweep, Wish

Database: TypeAlias = "AsyncIOMotorDatabase[Document]"
"""Motor's database; its classes take type arguments for the type checker only."""
_Collection: TypeAlias = "AsyncIOMotorCollection[Any]"

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Before everything: a range that an index answers by itself, where `$exists` reads the documents."""
_LAST_CHARACTER = "\U0010ffff"
_LONGEST_SEARCH_MS = 5_000
_ONE_BATCH = 1_000
"""Documents in the first batch of a cursor: more than are asked for at once, so that nothing is fetched twice."""
_Fields: TypeAlias = Sequence[str] | Mapping[str, int]
_FACTS: _Fields = {"rendered": 0}
"""All of a listing but its answers, which are made of it: half of its bytes."""
_ANSWERED = {"_id": 0, "feed": 1, "listing_key": 1, "rendered_by": 1, "missing": 1}
"""What every answer needs of a listing."""
_RECORDED_AGAIN_SECONDS = 60.0
_RECORDING_SECONDS = 1.0
"""Less than a reading may take, so that one whose record hangs is answered all the same."""
_DUPLICATE_KEY = 11_000
_ATTEMPTS_KEPT = timedelta(days=90)
_MARKS_KEPT = timedelta(days=100)
"""Longer than the dead letters themselves."""

_COUNTED = [*(f"counts.{status}" for status in Status), *(f"queue.{priority}.photos" for priority in Priority)]
_COUNTED_AT_ONCE = 5_000
"""Listings: a server with little to spare counts so many in some ten milliseconds."""

INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "listings": [
        IndexModel([("listing_key", ASCENDING), ("feed", ASCENDING)], name="listing_key_1_feed_1"),
        *(
            IndexModel(
                [("feed", ASCENDING), (f"queue.{one}.due_at", ASCENDING), (f"queue.{one}.photos", ASCENDING)],
                name=f"due_{one}",
                partialFilterExpression={f"queue.{one}.due_at": {"$exists": True}},
            )
            for one in Priority
        ),
        IndexModel(
            [("feed", ASCENDING), ("due_at", ASCENDING)],
            name="due_by_age",
            partialFilterExpression={"due_at": {"$exists": True}},
        ),
        IndexModel(
            [("feed", ASCENDING), ("checked_at", ASCENDING)],
            name="recheck_due",
            partialFilterExpression={"checked_at": {"$exists": True}},
        ),
        IndexModel(
            [("removal_due_at", ASCENDING)],
            name="removal_due",
            partialFilterExpression={"removal_due_at": {"$exists": True}},
        ),
        IndexModel(
            [("feed", ASCENDING), ("leased_until", ASCENDING), ("in_work", ASCENDING)],
            name="in_work",
            partialFilterExpression={"leased_until": {"$exists": True}},
        ),
        IndexModel(
            [("feed", ASCENDING), ("hidden.reason", ASCENDING), ("hidden.since", ASCENDING)],
            name="turned_hidden",
            partialFilterExpression={"hidden.was_displayed": True},
        ),
        IndexModel(
            [("feed", ASCENDING), ("hidden.reason", ASCENDING), ("hidden.held_until", ASCENDING)],
            name="held",
            partialFilterExpression={"hidden.held_until": {"$exists": True}},
        ),
        IndexModel(
            [("photos.claim.worker", ASCENDING)],
            name="claimed",
            partialFilterExpression={"photos.claim.worker": {"$exists": True}},
        ),
        IndexModel([("photos.id", ASCENDING)]),
        IndexModel([("photos.url_keys", ASCENDING)]),
        IndexModel(
            [(name, ASCENDING) for name in ("feed", "displayed", "listing_key", *_COUNTED)],
            name="counted",
        ),
        # What an operator's tables are filtered by, each in the order of the key.
        IndexModel([("feed", ASCENDING), ("photos.status", ASCENDING), ("listing_key", ASCENDING)], name="by_status"),
        IndexModel([("feed", ASCENDING), ("city", ASCENDING), ("listing_key", ASCENDING)], name="by_city"),
        IndexModel(
            [("feed", ASCENDING), ("photos.failure.reason", ASCENDING), ("listing_key", ASCENDING)],
            name="by_failure",
            partialFilterExpression={"photos.failure.reason": {"$exists": True}},
        ),
        IndexModel(
            [("feed", ASCENDING), ("listing_key", ASCENDING)],
            name="hidden",
            partialFilterExpression={"displayed": False},
        ),
    ],
    "attempts": [
        IndexModel([("image_id", ASCENDING), ("at", DESCENDING)]),
        IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=int(_ATTEMPTS_KEPT.total_seconds())),
    ],
    "removals": [
        IndexModel([("listing_key", ASCENDING), ("feed", ASCENDING), ("removed_at", ASCENDING)]),
        IndexModel([("removed_at", ASCENDING), ("_id", ASCENDING)], name="evidence"),
        IndexModel([("feed", ASCENDING), ("removed_at", ASCENDING), ("_id", ASCENDING)], name="evidence_of_feed"),
    ],
    "dead_letters": [
        IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=int(_MARKS_KEPT.total_seconds())),
    ],
}
"""Every query that a loop or a request makes has its index here; `imagectl indexes apply` creates them."""


@asynccontextmanager
async def connect(uri: str, database: str, call_seconds: float = 20.0) -> AsyncIterator[Database]:
    """Open a database for as long as the context lasts. Calls fail after seconds, not minutes, while it is away.

    Only what builds indexes waits longer: over millions of images it takes minutes.
    """
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        uri,
        tz_aware=True,
        serverSelectionTimeoutMS=3_000,
        connectTimeoutMS=3_000,
        socketTimeoutMS=int(call_seconds * 1000),
        retryWrites=True,
    )
    try:
        yield client[database]
    finally:
        client.close()


async def ping(database: Database) -> None:
    """Raise StoreUnavailable while the server does not answer."""
    with _translated():
        await database.command("ping")


async def apply_indexes(database: Database) -> list[str]:
    """Create every index that is missing; return the names of all."""
    names: list[str] = []
    with _translated():
        for collection, indexes in INDEXES.items():
            names += [f"{collection}.{name}" for name in await database[collection].create_indexes(list(indexes))]
    return names


async def missing_indexes(database: Database) -> list[str]:
    """Return the names of the indexes that `apply_indexes` would create."""
    missing: list[str] = []
    with _translated():
        for collection, indexes in INDEXES.items():
            there = await database[collection].index_information()
            names = [str(index.document["name"]) for index in indexes]
            missing += [f"{collection}.{name}" for name in names if name not in there]
    return missing


async def server_time(database: Database) -> datetime:
    """Return the server's clock."""
    with _translated():
        hello = await database.command("hello")
    return cast("datetime", hello["localTime"]).replace(tzinfo=UTC)


class MongoListings:
    """The listings in MongoDB."""

    def __init__(self, database: Database, renderer: Renderer) -> None:
        self._collection = database["listings"]
        self._renderer = renderer
        self._recorded_at: dict[str, float] = {}

    async def get(self, feed: str, listing_key: str) -> Listing | None:
        """Return one listing, or None."""
        return (await self.get_many([(feed, listing_key)])).get((feed, listing_key))

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        """Return those of the listings that are recorded."""
        found = await self._find({"_id": {"$in": [document_id(*one) for one in ids]}})
        return {(listing.feed, listing.key): listing for listing in found}

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        """Write each listing if its revision is still the recorded one; return the ids of those that were refused."""
        return await self._record([to_document(one, one.revision + 1, self._renderer) for one in listings])

    async def _record(self, documents: Sequence[Document]) -> Collection[ListingId]:
        token = uuid.uuid4().hex
        requests = [
            ReplaceOne(
                {"_id": one["_id"], "revision": one["revision"] - 1},
                one | {"written": token},
                upsert=one["revision"] == 1,
            )
            for one in documents
        ]
        if not requests or await self._write_all(requests):
            return ()
        return await self._refused(documents, token)

    async def _write_all(self, requests: list[ReplaceOne[Document]]) -> bool:
        with _translated():
            try:
                result = await self._collection.bulk_write(requests, ordered=False)
            except BulkWriteError as fault:
                errors = (fault.details or {}).get("writeErrors", [])
                if any(error["code"] != _DUPLICATE_KEY for error in errors):
                    raise
                return False
        return bool(result.matched_count + result.upserted_count == len(requests))

    async def _refused(self, documents: Sequence[Document], token: str) -> Collection[ListingId]:
        ids = {one["_id"]: (one["feed"], one["listing_key"]) for one in documents}
        with _translated():
            ours = await self._collection.find({"_id": {"$in": list(ids)}, "written": token}, {"_id": 1}).to_list(None)
        return set(ids.values()) - {ids[document["_id"]] for document in ours}

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
            with _translated():
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
        with _translated():
            found = await self._collection.find(query, dict.fromkeys(RECORDED, 1)).to_list(None)
        return {(document["feed"], document["listing_key"]): recorded(document) for document in found}

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        """Return the keys of a feed's displayed listings in their order, from the index alone."""
        query = {"listing_key": {"$gt": after}, "feed": feed, "displayed": True}
        with _translated():
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
        with _translated():
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

    async def displayed(self, feed: str) -> int:
        """Return how many of a feed's listings are displayed."""
        return await self._count({"feed": feed, "displayed": True}, hint="counted")

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        """Return hidden listings whose copies are held until an operator decides."""
        query = {"feed": feed, "hidden.reason": reason, "hidden.held_until": UNDECIDED}
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

    async def showing(self, image_ids: Collection[str], url_keys: Collection[str]) -> Sequence[ShownPhoto]:
        """Return the photos of displayed listings that have one of the ids, or were announced under one of the URLs."""
        wanted = [
            ("photos.id", image_ids, {"$in": ["$$this.id", {"$literal": list(image_ids)}]}),
            ("photos.url_keys", url_keys, _announced_under(url_keys)),
        ]
        pipelines: list[list[Document]] = [
            [
                {"$match": {field: {"$in": list(names)}, "displayed": True}},
                {"$set": {"photos": {"$filter": {"input": "$photos", "cond": is_meant}}}},
                {"$unset": "rendered"},
            ]
            for field, names, is_meant in wanted
            if names
        ]
        with _translated():
            read = await asyncio.gather(
                *(self._collection.aggregate(one, batchSize=_ONE_BATCH).to_list(None) for one in pipelines)
            )
        found = [from_document(document) for documents in read for document in documents]
        return [ShownPhoto(one.feed, one.key, photo, one.due_of(photo)) for one in found for photo in one.photos]

    async def photo_answers(self, url_keys: Collection[str], *, every: bool) -> Sequence[PhotoAnswer]:
        """Return the answers of displayed listings' photos that were announced under one of the URLs.

        Of a listing every such photo, or only the first, which takes two thirds of the time.
        """
        wanted, keys = frozenset(url_keys), list(url_keys)
        first = {"$elemMatch": {"url_keys": {"$in": keys}}}
        picked = {"$filter": {"input": "$rendered", "cond": _announced_under(keys)}} if every else first
        found = await self._answered({"photos.url_keys": {"$in": keys}, "displayed": True}, picked)
        return [PhotoAnswer.read(one, photo) for one in found for photo in announced_under(one, wanted)]

    async def answers(self, listing_keys: Collection[str], feed: str | None, photos: int | None) -> Sequence[Answer]:
        """Return the displayed listings' answers, with at most so many photos each."""
        query: Document = {"listing_key": {"$in": list(listing_keys)}, "displayed": True}
        if feed is not None:
            query["feed"] = feed
        found = await self._answered(query, {"$slice": photos} if photos is not None else {"json": 1})
        return [
            Answer(one["feed"], one["listing_key"], fragments_of(one, photos), missing_of(one, photos)) for one in found
        ]

    async def _answered(self, query: Document, picked: Document) -> Sequence[Document]:
        """Return what answers need of listings, of `rendered` what is picked; whole where it had to be rendered anew.

        That is recorded, or else each reading would take seven times as long from the day on when the public address or
        the rules change.
        """
        with _translated():
            cursor = self._collection.find(query, _ANSWERED | {"rendered": picked}, batch_size=_ONE_BATCH)
            documents: list[Document] = await cursor.to_list(None)
        version = self._renderer.version
        current = [one for one in documents if one["rendered_by"] == version]
        if len(current) == len(documents):
            return current
        outdated = [(one["feed"], one["listing_key"]) for one in documents if one["rendered_by"] != version]
        listings = [one for one in (await self.get_many(outdated)).values() if one.is_displayed]
        anew = [to_document(one, one.revision + 1, self._renderer) for one in listings]
        await self._record_at_times(anew)
        return [*current, *anew]

    async def _record_at_times(self, anew: Sequence[Document]) -> None:
        """Record what was rendered anew, if it can be done soon: whoever asks has the answer without it.

        Once a minute a listing: two processes of different settings, side by side, would do so by turns without end.
        """
        now = time.monotonic()
        self._recorded_at = {one: at for one, at in self._recorded_at.items() if at > now - _RECORDED_AGAIN_SECONDS}
        some = [one for one in anew if one["_id"] not in self._recorded_at]
        self._recorded_at |= {one["_id"]: now for one in some}
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_RECORDING_SECONDS):
                await self._record(some)

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        """Count a feed's listings, images and queue, from indexes alone.

        Some thousand listings a question, so that whatever else is asked meanwhile need not wait for all of them. What
        changes between two questions may be counted as it was or as it is.
        """
        rows = [row for displayed in (True, False) async for row in self._tally(feed, displayed=displayed)]
        query = {"feed": feed, "due_at": {"$gte": _BEGINNING}}
        with _translated():
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
        after, sums = "", {name.split(".")[1]: {"$sum": f"${name}"} for name in _COUNTED}
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

    async def search(self, wanted: Wanted, after: str, limit: int) -> Sequence[Row]:
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

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[Row]:
        """Return listings with due photos in the order of `due`, or by age alone."""
        query: Document = {"feed": feed, "due_at": {"$lte": now}}
        if by_age:
            return await self._rows(query, [("due_at", ASCENDING)], limit, "due_by_age")
        found = await self._most_urgent(feed, now, limit, rows.FIELDS, _LONGEST_SEARCH_MS)
        return [rows.from_document(one) for one in found]

    async def coming(self, feed: str, now: datetime, limit: int) -> Sequence[Row]:
        """Return listings whose next attempt is yet to come, or being made, soonest first."""
        query = {"feed": feed, "due_at": {"$gt": now}}
        return await self._rows(query, [("due_at", ASCENDING)], limit, "due_by_age")

    async def _rows(self, query: Document, sort: list[tuple[str, int]], limit: int, hint: str) -> list[Row]:
        with _translated():
            cursor = self._collection.find(
                query, rows.FIELDS, sort=sort, limit=limit, hint=hint, max_time_ms=_LONGEST_SEARCH_MS
            )
            return [rows.from_document(document) for document in await cursor.to_list(None)]

    async def _find(
        self, query: Document, sort: list[tuple[str, int]] | None = None, limit: int = 0, hint: str | None = None
    ) -> list[Listing]:
        with _translated():
            cursor = self._collection.find(query, _FACTS, limit=limit, sort=sort, hint=hint)
            return [from_document(document) for document in await cursor.to_list(None)]

    async def _count(self, query: Document, hint: str) -> int:
        with _translated():
            return int(await self._collection.count_documents(query, hint=hint))

    async def _aggregate(self, pipeline: list[Document], hint: str) -> list[Document]:
        with _translated():
            return list(await self._collection.aggregate(pipeline, hint=hint).to_list(None))


class MongoAttempts:
    """The history of attempts in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["attempts"]

    async def add(self, attempts: Sequence[Attempt]) -> None:
        """Append."""
        if attempts:
            with _translated():
                await self._collection.bulk_write([InsertOne(asdict(attempt)) for attempt in attempts], ordered=False)

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of the images, newest first."""
        with _translated():
            query = {"image_id": {"$in": list(image_ids)}}
            cursor = self._collection.find(query, {"_id": 0}, sort=[("at", DESCENDING)], limit=limit)
            return [Attempt(**document) for document in await cursor.to_list(None)]

    async def latest(self, limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of all, newest first."""
        with _translated():
            cursor = self._collection.find({}, {"_id": 0}, sort=[("at", DESCENDING)], limit=limit, hint="expiry")
            return [Attempt(**document) for document in await cursor.to_list(None)]

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[Tally]:
        """Count attempts by minute and result, from `since` to before `until`."""
        minute = {"$dateTrunc": {"date": "$at", "unit": "minute"}}
        pipeline: list[Document] = [
            {"$match": {"at": {"$gte": since, "$lt": until}}},
            {"$group": {"_id": {"minute": minute, "result": "$result"}, "count": {"$sum": 1}}},
        ]
        with _translated():
            found = await self._collection.aggregate(pipeline, hint="expiry").to_list(None)
        return [Tally(one["_id"]["minute"], one["_id"]["result"], one["count"]) for one in found]


class MongoRemovals:
    """The evidence of removals in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["removals"]

    async def add(self, removals: Sequence[Removal]) -> None:
        """Record; the same removal again changes nothing."""
        if removals:
            documents = [asdict(removal) for removal in removals]
            requests = [UpdateOne({"_id": one.pop("id")}, {"$setOnInsert": one}, upsert=True) for one in documents]
            with _translated():
                await self._collection.bulk_write(requests, ordered=False)

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        """Return the evidence of a listing, oldest first."""
        with _translated():
            query = {"listing_key": listing_key, "feed": feed}
            documents = await self._collection.find(query, sort=[("removed_at", ASCENDING)]).to_list(None)
        return [_removal(document) for document in documents]

    async def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        """Yield the evidence of a period, its end excluded, oldest first; of one feed or of all."""
        query: Document = {"removed_at": {"$gte": begin, "$lt": end}, **({"feed": feed} if feed else {})}
        hint = "evidence_of_feed" if feed else "evidence"
        with _translated():
            async for document in self._collection.find(query, sort=[("removed_at", ASCENDING)], hint=hint):
                yield _removal(document)

    async def newest(
        self, begin: datetime, end: datetime, feed: str | None, after: Behind | None, most: int
    ) -> Sequence[Removal]:
        """Return so much of the same at most, newest first; from behind a removal on where one is given."""
        query: Document = {"removed_at": {"$gte": begin, "$lt": end}, **({"feed": feed} if feed else {})}
        if after:
            at, removal_id = after
            query["removed_at"]["$lte"] = at
            query["$or"] = [{"removed_at": {"$lt": at}}, {"_id": {"$lt": removal_id}}]
        order = [("removed_at", DESCENDING), ("_id", DESCENDING)]
        hint = "evidence_of_feed" if feed else "evidence"
        with _translated():
            documents = await self._collection.find(query, sort=order, hint=hint, limit=most).to_list(None)
        return [_removal(document) for document in documents]


def _announced_under(url_keys: Collection[str]) -> Document:
    """Return the expression that a photo, `$$this`, was announced under one of the URLs."""
    is_meant = {"$in": ["$$key", {"$literal": list(url_keys)}]}  # a sixth faster than to intersect the two
    keys = {"$ifNull": ["$$this.url_keys", []]}  # of older rules there is none
    return {"$anyElementTrue": [{"$map": {"input": keys, "as": "key", "in": is_meant}}]}


def _removal(document: Document) -> Removal:
    return Removal(id=document.pop("_id"), remained=tuple(document.pop("remained", ())), **document)


class MongoFreezes:
    """The freezes in MongoDB: one document a feed and reason."""

    def __init__(self, database: Database) -> None:
        self._collection = database["freezes"]

    async def all(self) -> Sequence[Freeze]:
        """Return the last freeze of each feed and reason, by feed."""
        with _translated():
            documents = await self._collection.find({}, sort=[("_id", ASCENDING)]).to_list(None)
        return [_freeze(document) for document in documents]

    async def begin(self, freeze: Freeze) -> bool:
        """Record a freeze; False where one of the same feed and reason is in force already."""
        query = {"_id": f"{freeze.feed}\n{freeze.reason}", "decision": {"$ne": None}}
        with _translated():
            try:
                await self._collection.replace_one(query, asdict(freeze), upsert=True)
            except DuplicateKeyError:
                return False
        return True

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        """Decide about a feed's freezes in force; return how many there were."""
        query = {"_id": {"$in": [f"{feed}\n{reason}" for reason in RemovalReason]}, "decision": None}
        with _translated():
            result = await self._collection.update_many(query, {"$set": {"decision": decision, "decided_at": now}})
        return int(result.modified_count)


def _freeze(document: Document) -> Freeze:
    decision = document.pop("decision")
    return Freeze(
        reason=RemovalReason(document.pop("reason")),
        decision=Decision(decision) if decision else None,
        **{name: value for name, value in document.items() if name != "_id"},
    )


class MongoMarks:
    """Marks of dead letters in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["dead_letters"]

    async def add(self, places: Sequence[Place], how: str) -> None:
        """Mark dead letters as handled. The same again changes nothing."""
        if places:
            requests = [
                UpdateOne({"_id": _place_id(one)}, {"$setOnInsert": {**asdict(one), "how": how}}, upsert=True)
                for one in places
            ]
            with _translated():
                await self._collection.bulk_write(requests, ordered=False)

    async def since(self, oldest: datetime) -> Collection[Place]:
        """Return the marks of dead letters that are as new as that."""
        query, wanted = {"at": {"$gte": oldest}}, {"_id": 0, "partition": 1, "offset": 1, "at": 1}
        with _translated():
            return {Place(**one) for one in await self._collection.find(query, wanted).to_list(None)}


def _place_id(place: Place) -> str:
    return f"{place.partition}/{place.offset}/{place.at.isoformat()}"


class MongoAudits:
    """The audits in MongoDB: one document each."""

    def __init__(self, database: Database) -> None:
        self._collection = database["audits"]

    async def newest(self, limit: int) -> Sequence[Audit]:
        """Return the newest audits, newest first."""
        with _translated():
            documents = await self._collection.find({}, sort=[("_id", DESCENDING)], limit=limit).to_list(None)
        return [Audit(started_at=document.pop("_id"), **document) for document in documents]

    async def save(self, audit: Audit) -> None:
        """Write an audit as it now stands."""
        document = asdict(audit)
        with _translated():
            await self._collection.replace_one({"_id": document.pop("started_at")}, document, upsert=True)


class MongoLeases:
    """Leases in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["leases"]

    async def hold(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """Take or keep the lease; False while another holds it."""
        free = {"_id": name, "$or": [{"holder": holder}, {"until": {"$lte": now}}]}
        with _translated():
            try:
                await self._collection.update_one(free, {"$set": {"holder": holder, "until": until}}, upsert=True)
            except DuplicateKeyError:
                return False
        return True

    async def release(self, name: str, holder: str) -> None:
        """Give the lease back."""
        with _translated():
            await self._collection.delete_one({"_id": name, "holder": holder})

    async def holders(self, now: datetime) -> Mapping[str, str]:
        """Return who holds each lease that has not ended."""
        with _translated():
            held = await self._collection.find({"until": {"$gt": now}}).to_list(None)
        return {one["_id"]: one["holder"] for one in held}


class MongoSweeps:
    """The sweeps in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["sweeps"]

    async def get(self, feed: str) -> Sweep:
        """Return the feed's sweeps, an empty record before the first write."""
        with _translated():
            document = await self._collection.find_one({"_id": feed}, {"_id": 0})
        facts = document or {}
        if wish := facts.get("wish"):
            facts["wish"] = Wish(**wish)
        if found := facts.get("found"):
            facts["found"] = Found(**found)
        return Sweep(feed=feed, **facts)

    async def write(self, sweep: Sweep) -> bool:
        """Write all but the wish if the revision is still the recorded one; False where another was faster."""
        facts = {name: value for name, value in asdict(sweep).items() if name not in {"feed", "wish"}}
        query = {"_id": sweep.feed, "revision": sweep.revision}
        change = {"$set": facts | {"revision": sweep.revision + 1}}
        with _translated():
            try:
                result = await self._collection.update_one(query, change, upsert=sweep.revision == 0)
            except DuplicateKeyError:
                return False
        return bool(result.matched_count or result.upserted_id)

    async def ask(self, feed: str, wish: Wish) -> None:
        """Leave a wish in place of any before it."""
        change = {"$set": {"wish": asdict(wish)}, "$setOnInsert": {"revision": 0}}
        with _translated():
            await self._collection.update_one({"_id": feed}, change, upsert=True)


class MongoPaces:
    """The paces in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["paces"]

    async def put(self, feed: str, pace: Pace) -> None:
        """Record what was measured last."""
        with _translated():
            await self._collection.replace_one({"_id": feed}, asdict(pace), upsert=True)

    async def get(self, feed: str) -> Pace | None:
        """Return what was measured last, or None."""
        with _translated():
            found = await self._collection.find_one({"_id": feed}, {"_id": 0})
        return Pace(**found) if found else None


class MongoBudgets:
    """The ledgers in MongoDB: one document a feed, read together with the server's clock."""

    def __init__(self, database: Database) -> None:
        self._collection = database["budgets"]

    async def get(self, feed: str) -> Stored:
        """Return the feed's ledger, an empty one before the first write."""
        with _translated():
            while not (rows := await self._read(feed)):
                # An upsert by _id alone is retried by the server where two come at once.
                begun = {"$setOnInsert": {"ledger": {}, "revision": 0}}
                await self._collection.update_one({"_id": feed}, begun, upsert=True)
        return Stored(rows[0]["ledger"], rows[0]["revision"], rows[0]["now"])

    async def _read(self, feed: str) -> list[Document]:
        pipeline = [{"$match": {"_id": feed}}, {"$set": {"now": "$$NOW"}}]
        return list(await self._collection.aggregate(pipeline).to_list(1))

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        """Write the ledger if its revision is still the expected one; False where another was faster."""
        query = {"_id": feed, "revision": expected_revision}
        change = {"$set": {"ledger": document, "revision": expected_revision + 1}}
        with _translated():
            return bool((await self._collection.update_one(query, change)).matched_count)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PyMongoError as fault:
        words = (
            str(fault).split(" (configured", 1)[0].split(", Timeout:", 1)[0]
        )  # what follows is the driver's own state
        raise StoreUnavailable(f"MongoDB: {type(fault).__name__}: {words}") from fault
