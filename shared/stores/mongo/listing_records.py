"""Reads and writes listings in MongoDB by id. The other modules on listings use the query helpers of its class."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from pymongo import ASCENDING, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure

from shared.domain.listing import Listing, RecordedState, Unannounced
from shared.render import Renderer
from shared.stores import summaries
from shared.stores.documents import (
    RECORDED_STATE_FIELDS,
    Document,
    ListingId,
    document_id,
    from_document,
    read_recorded_state,
    to_document,
    unannounced_document,
)
from shared.stores.errors import ListingsUnwritable
from shared.stores.mongo.connection import Database, translated
from shared.stores.mongo.quarantine import quarantine, readable
from shared.stores.summaries import ListingSummary

Fields: TypeAlias = Sequence[str] | Mapping[str, int]
"""A projection of MongoDB: the names of the fields to read, or fields that are 0 to read all other fields."""
FACTS: Fields = {"rendered": 0}
"""All fields but the fragments, which are half of a document's bytes and are computed from the other fields."""
MAX_SEARCH_MILLISECONDS = 5_000
_DUPLICATE_KEY, _TOO_LARGE_CODE = 11_000, 10_334


class _TooLarge(Exception):
    """Raised if a document is larger than the 16 MB that MongoDB allows."""


class MongoListingRecords:
    """Reads and writes listings in MongoDB by feed and ListingKey; implements ListingRecords.

    `renderer` makes the JSON fragments that are written with a listing. Each subclass adds the queries for one purpose.
    Each query names its index, unless only one index can serve it.
    """

    def __init__(self, database: Database, renderer: Renderer) -> None:
        self._collection = database["listings"]
        self._renderer = renderer

    async def get(self, feed: str, listing_key: str) -> Listing | None:
        return (await self.get_many([(feed, listing_key)])).get((feed, listing_key))

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        found = await self._find({"_id": {"$in": [document_id(feed, listing_key) for feed, listing_key in ids]}})
        return {(listing.feed, listing.key): listing for listing in found}

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        documents = [to_document(listing, listing.revision + 1, self._renderer) for listing in listings]
        if not documents:
            return ()
        try:
            return await self._replace(documents)
        except _TooLarge:
            return await self._replace_singly(documents)

    async def _replace_singly(self, documents: Iterable[Document]) -> Collection[ListingId]:
        """Replace stored documents one by one, as `_replace` does; quarantine listings whose document is too large.

        Return the ids of the listings whose write was refused. Raises StoreUnavailable if the database does not answer,
        and ListingsUnwritable after the last document if any was too large.
        """
        refused, too_large = set[ListingId](), list[str]()
        for document in documents:
            try:
                refused |= set(await self._replace([document]))
            except _TooLarge as error:
                refused.add((document["feed"], document["listing_key"]))
                too_large.append(document["_id"])
                await quarantine(self._collection, document["_id"], f"it cannot be written: {error}")
        if too_large:
            raise ListingsUnwritable(f"too large for MongoDB: {', '.join(too_large)}", refused)
        return refused

    async def _replace(self, documents: Sequence[Document]) -> Collection[ListingId]:
        """Write documents of listings, each in place of the stored document whose revision is one less.

        A listing without a stored document is inserted. Return the ids of the listings whose write was refused, because
        the stored revision is another. Raises StoreUnavailable if the database does not answer, and _TooLarge if a
        document is larger than 16 MB; some documents may be written nevertheless.
        """
        # With upsert, a refused write becomes an insert, which fails because the id exists: so the errors name the
        # refused documents. Without upsert, the result of a bulk does not say which documents matched.
        requests = [
            ReplaceOne({"_id": document["_id"], "revision": document["revision"] - 1}, document, upsert=True)
            for document in documents
        ]
        with translated():
            try:
                await self._collection.bulk_write(requests, ordered=False)
            except DocumentTooLarge as error:
                raise _TooLarge(str(error)) from error
            except BulkWriteError as error:
                failures = (error.details or {}).get("writeErrors", [])
                if any(failure["code"] == _TOO_LARGE_CODE for failure in failures):
                    raise _TooLarge("over 16 MB") from error
                if not failures or any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                    raise
                refused = [documents[failure["index"]] for failure in failures]
                return {(document["feed"], document["listing_key"]) for document in refused}
            except OperationFailure as error:
                if error.code == _TOO_LARGE_CODE:
                    raise _TooLarge("over 16 MB") from error
                raise
        return ()

    async def recorded_states(self, ids: Collection[ListingId]) -> Mapping[ListingId, RecordedState]:
        query = {"_id": {"$in": [document_id(feed, listing_key) for feed, listing_key in ids]}}
        with translated():
            found = await self._collection.find(query, dict.fromkeys(RECORDED_STATE_FIELDS, 1)).to_list(None)
        return {(document["feed"], document["listing_key"]): read_recorded_state(document) for document in found}

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        query = {"listing_key": {"$gt": after}, "feed": feed}
        return await self._find(query, sort=[("listing_key", ASCENDING)], limit=limit)

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        query = {"listing_key": {"$gt": after}, "feed": feed, "displayed": True}
        with translated():
            cursor = self._collection.find(
                query, {"_id": 0, "listing_key": 1}, sort=[("listing_key", ASCENDING)], limit=limit, hint="counted"
            )
            return [document["listing_key"] for document in await cursor.to_list(None)]

    async def unannounced(self, before: datetime, limit: int) -> Sequence[Listing]:
        return await self._queued({"unannounced.at": {"$lt": before}}, limit=limit, hint="unannounced")

    async def clear_unannounced(self, announced: Iterable[tuple[ListingId, Unannounced]]) -> None:
        requests = [
            UpdateOne({"_id": document_id(*listing_id)}, {"$pull": {"unannounced": unannounced_document(mark)}})
            for listing_id, mark in announced
        ]
        if requests:
            with translated():
                await self._collection.bulk_write(requests, ordered=False)

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        return await self._queued({"photos.claim.worker": worker}, limit=limit, hint="claimed")

    async def _summaries(
        self, query: Document, sort: list[tuple[str, int]], limit: int, hint: str
    ) -> list[ListingSummary]:
        """Return summaries of up to `limit` listings that match a query, for a table for operators.

        `sort` has pairs of a field and PyMongo's direction; `hint` is the name of the index to use. Raises
        StoreUnavailable if the database does not answer, or if the query takes longer than 5 seconds.
        """
        with translated():
            cursor = self._collection.find(
                query, summaries.FIELDS, sort=sort, limit=limit, hint=hint, max_time_ms=MAX_SEARCH_MILLISECONDS
            )
            return [summaries.from_document(document) for document in await cursor.to_list(None)]

    async def _find(
        self, query: Document, sort: list[tuple[str, int]] | None = None, limit: int = 0, hint: str | None = None
    ) -> list[Listing]:
        """Return the listings that match a query. Raises StoreUnavailable.

        `sort` has pairs of a field and PyMongo's direction; a `limit` of 0 is no limit; `hint` is the name of the index
        to use.
        """
        return [from_document(document) for document in await self._documents(query, sort, limit, hint)]

    async def _queued(
        self, query: Document, sort: list[tuple[str, int]] | None = None, limit: int = 0, hint: str | None = None
    ) -> Sequence[Listing]:
        """Return the listings that a query of a queue matches, as `_find` does, without those that cannot be read.

        Listings that cannot be read are quarantined, so that the work on the others goes on. Raises StoreUnavailable.
        """
        return await readable(self._collection, await self._documents(query, sort, limit, hint))

    async def _documents(
        self, query: Document, sort: list[tuple[str, int]] | None, limit: int, hint: str | None
    ) -> list[Document]:
        with translated():
            cursor = self._collection.find(query, FACTS, limit=limit, sort=sort, hint=hint)
            return list(await cursor.to_list(None))

    async def _count(self, query: Document, hint: str) -> int:
        with translated():
            return int(await self._collection.count_documents(query, hint=hint))

    async def _aggregate(self, pipeline: list[Document], hint: str) -> list[Document]:
        with translated():
            return list(await self._collection.aggregate(pipeline, hint=hint).to_list(None))
