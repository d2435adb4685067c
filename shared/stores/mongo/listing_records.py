"""The listings in MongoDB, read and written by id; and the reads that all parts of the store share."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from pymongo import ASCENDING, ReplaceOne
from pymongo.errors import BulkWriteError

from shared.domain.listing import Listing, RecordedState
from shared.render import Renderer
from shared.stores import summaries
from shared.stores.documents import RECORDED, Document, ListingId, document_id, from_document, recorded, to_document
from shared.stores.mongo.connection import Database, translated
from shared.stores.summaries import ListingSummary

Fields: TypeAlias = Sequence[str] | Mapping[str, int]
"""Which fields of documents are read: those that are named, or those that are not 0."""
FACTS: Fields = {"rendered": 0}
"""All of a listing but its answers, which are made of it: half of its bytes."""
MAX_SEARCH_MILLISECONDS = 5_000
_DUPLICATE_KEY = 11_000


class MongoListingRecords:
    """Implements ListingRecords."""

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

    async def recorded(self, ids: Collection[ListingId]) -> Mapping[ListingId, RecordedState]:
        """Return what was last said of those of the listings that are recorded."""
        query = {"_id": {"$in": [document_id(*one) for one in ids]}}
        with translated():
            found = await self._collection.find(query, dict.fromkeys(RECORDED, 1)).to_list(None)
        return {(document["feed"], document["listing_key"]): recorded(document) for document in found}

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        """Return a feed's listings by key, those after the key given; "" begins."""
        query = {"listing_key": {"$gt": after}, "feed": feed}
        return await self._find(query, sort=[("listing_key", ASCENDING)], limit=limit)

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        """Return the keys of a feed's displayed listings in their order, from the index alone."""
        query = {"listing_key": {"$gt": after}, "feed": feed, "displayed": True}
        with translated():
            cursor = self._collection.find(
                query, {"_id": 0, "listing_key": 1}, sort=[("listing_key", ASCENDING)], limit=limit, hint="counted"
            )
            return [document["listing_key"] for document in await cursor.to_list(None)]

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        """Return listings of which the worker has photos in hand."""
        return await self._find({"photos.claim.worker": worker}, limit=limit, hint="claimed")

    async def _summaries(
        self, query: Document, sort: list[tuple[str, int]], limit: int, hint: str
    ) -> list[ListingSummary]:
        with translated():
            cursor = self._collection.find(
                query, summaries.FIELDS, sort=sort, limit=limit, hint=hint, max_time_ms=MAX_SEARCH_MILLISECONDS
            )
            return [summaries.from_document(document) for document in await cursor.to_list(None)]

    async def _find(
        self, query: Document, sort: list[tuple[str, int]] | None = None, limit: int = 0, hint: str | None = None
    ) -> list[Listing]:
        with translated():
            cursor = self._collection.find(query, FACTS, limit=limit, sort=sort, hint=hint)
            return [from_document(document) for document in await cursor.to_list(None)]

    async def _count(self, query: Document, hint: str) -> int:
        with translated():
            return int(await self._collection.count_documents(query, hint=hint))

    async def _aggregate(self, pipeline: list[Document], hint: str) -> list[Document]:
        with translated():
            return list(await self._collection.aggregate(pipeline, hint=hint).to_list(None))
