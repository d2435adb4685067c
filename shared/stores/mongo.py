"""The door to MongoDB: the only module that knows Motor and PyMongo."""

import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from shared.domain.image import Status
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.render import Renderer
from shared.stores.budgets import Stored
from shared.stores.documents import Document, ListingId, document_id, from_document, to_document
from shared.stores.errors import StoreUnavailable
from shared.stores.listings import Answer, FeedCounts
from shared.stores.records import Attempt, Removal

Database: TypeAlias = "AsyncIOMotorDatabase[Document]"
"""Motor's database; its classes take type arguments for the type checker only."""

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Before everything: a range that an index answers by itself, where `$exists` reads the documents."""
_DUPLICATE_KEY = 11_000
_ATTEMPTS_KEPT = timedelta(days=90)

INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "listings": [
        IndexModel([("listing_key", ASCENDING), ("feed", ASCENDING)]),
        IndexModel(
            [("feed", ASCENDING), ("rank", ASCENDING), ("due_at", ASCENDING), ("wanting", ASCENDING)],
            name="due_by_priority",
            partialFilterExpression={"due_at": {"$exists": True}},
        ),
        IndexModel(
            [("feed", ASCENDING), ("due_at", ASCENDING)],
            name="due_by_age",
            partialFilterExpression={"due_at": {"$exists": True}},
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
            [("photos.claim.worker", ASCENDING)],
            name="claimed",
            partialFilterExpression={"photos.claim.worker": {"$exists": True}},
        ),
        IndexModel([("photos.id", ASCENDING)]),
        IndexModel([("photos.url_keys", ASCENDING)]),
        IndexModel(
            [("feed", ASCENDING), ("displayed", ASCENDING), *((f"counts.{status}", ASCENDING) for status in Status)],
            name="counts",
        ),
    ],
    "attempts": [
        IndexModel([("image_id", ASCENDING), ("at", DESCENDING)]),
        IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=int(_ATTEMPTS_KEPT.total_seconds())),
    ],
    "removals": [IndexModel([("listing_key", ASCENDING), ("feed", ASCENDING), ("removed_at", ASCENDING)])],
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
        """Write each listing if its revision is still the recorded one; return the ids of those that were refused."""
        token = uuid.uuid4().hex
        changes = list(listings)
        requests = [
            ReplaceOne(
                {"_id": document_id(one.feed, one.key), "revision": one.revision},
                to_document(one, one.revision + 1, self._renderer) | {"written": token},
                upsert=one.revision == 0,
            )
            for one in changes
        ]
        if not requests or await self._write_all(requests):
            return ()
        return await self._refused(changes, token)

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

    async def _refused(self, changes: Sequence[Listing], token: str) -> Collection[ListingId]:
        ids = {document_id(one.feed, one.key): (one.feed, one.key) for one in changes}
        with _translated():
            ours = await self._collection.find({"_id": {"$in": list(ids)}, "written": token}, {"_id": 1}).to_list(None)
        return set(ids.values()) - {ids[document["_id"]] for document in ours}

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        """Return a feed's listings by key, those after the key given; "" begins."""
        query = {"listing_key": {"$gt": after}, "feed": feed}
        return await self._find(query, sort=[("listing_key", ASCENDING)], limit=limit)

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return listings with due photos, most urgent first, the longest due first among equals."""
        found: list[Listing] = []
        for priority in Priority:
            if len(found) < limit:
                query = {"feed": feed, "rank": priority.rank, "due_at": {"$lte": now}}
                found += await self._find(
                    query, sort=[("due_at", ASCENDING)], limit=limit - len(found), hint="due_by_priority"
                )
        return found

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

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        """Return listings of which something must be removed, the longest due first."""
        query = {"removal_due_at": {"$lte": now}}
        return await self._find(query, sort=[("removal_due_at", ASCENDING)], limit=limit, hint="removal_due")

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        """Return listings of which the worker has photos in hand."""
        return await self._find({"photos.claim.worker": worker}, limit=limit, hint="claimed")

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        """Return the listings with this key, of every feed."""
        return await self._find({"listing_key": listing_key})

    async def by_image(self, image_id: str) -> Listing | None:
        """Return the listing that shows the image."""
        return next(iter(await self.by_images([image_id])), None)

    async def by_images(self, image_ids: Collection[str]) -> Sequence[Listing]:
        """Return the listings that show the images."""
        return await self._find({"photos.id": {"$in": list(image_ids)}})

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        """Return the listings with a photo announced under this URL."""
        return await self._find({"photos.url_keys": url_key})

    async def answers(self, listing_keys: Collection[str], feed: str | None, photos: int | None) -> Sequence[Answer]:
        """Return the displayed listings' answers, with at most so many photos each."""
        query: Document = {"listing_key": {"$in": list(listing_keys)}, "displayed": True}
        if feed is not None:
            query["feed"] = feed
        rendered: object = {"$slice": photos} if photos is not None else 1
        projection = {"_id": 0, "feed": 1, "listing_key": 1, "rendered": rendered, "rendered_by": 1, "wanting": 1}
        with _translated():
            documents = await self._collection.find(query, projection).to_list(None)
        stale = [
            (document["feed"], document["listing_key"])
            for document in documents
            if document["rendered_by"] != self._renderer.version
        ]
        anew = await self.get_many(stale) if stale else {}
        return [self._answer(document, anew, photos) for document in documents]

    def _answer(self, document: Document, anew: Mapping[ListingId, Listing], photos: int | None) -> Answer:
        listing = anew.get((document["feed"], document["listing_key"]))
        rendered = self._renderer.fragments(listing)[:photos] if listing else document["rendered"]
        return Answer(document["feed"], document["listing_key"], rendered, document["wanting"])

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        """Count a feed's listings, images and queue, from indexes alone."""
        images = {status.value: {"$sum": f"$counts.{status}"} for status in Status}
        rows = await self._aggregate(
            [{"$match": {"feed": feed}}, {"$group": {"_id": "$displayed", "listings": {"$sum": 1}, **images}}],
            hint="counts",
        )
        queue = await self._aggregate(
            [
                {"$match": {"feed": feed, "due_at": {"$gte": _BEGINNING}}},
                {"$group": {"_id": "$rank", "photos": {"$sum": "$wanting"}, "oldest": {"$min": "$due_at"}}},
            ],
            hint="due_by_priority",
        )
        ranks = {priority.rank: priority.value for priority in Priority}
        return FeedCounts(
            listings=sum(row["listings"] for row in rows),
            displayed=sum(row["listings"] for row in rows if row["_id"]),
            images={status: sum(row[status.value] for row in rows) for status in Status},
            queued={ranks[row["_id"]]: row["photos"] for row in sorted(queue, key=lambda row: int(row["_id"]))},
            in_work=await self.in_work(feed, now),
            oldest_due_at=min((row["oldest"] for row in queue), default=None),
        )

    async def _find(
        self, query: Document, sort: list[tuple[str, int]] | None = None, limit: int = 0, hint: str | None = None
    ) -> list[Listing]:
        with _translated():
            cursor = self._collection.find(query, limit=limit, sort=sort, hint=hint)
            return [from_document(document) for document in await cursor.to_list(None)]

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
        return [Removal(id=document.pop("_id"), **document) for document in documents]


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
