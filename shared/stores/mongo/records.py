"""Attempts, removals and the marks of dead letters in MongoDB: what happened, for people to look up."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import asdict
from datetime import datetime

from pymongo import ASCENDING, DESCENDING, InsertOne, UpdateOne

from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated
from shared.stores.records import Attempt, Behind, Place, Removal, Tally, removal_facts


class MongoAttempts:
    """The history of attempts in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["attempts"]

    async def add(self, attempts: Sequence[Attempt]) -> None:
        """Append."""
        if attempts:
            with translated():
                await self._collection.bulk_write([InsertOne(asdict(attempt)) for attempt in attempts], ordered=False)

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of the images, newest first."""
        with translated():
            query = {"image_id": {"$in": list(image_ids)}}
            cursor = self._collection.find(query, {"_id": 0}, sort=[("at", DESCENDING)], limit=limit)
            return [Attempt(**document) for document in await cursor.to_list(None)]

    async def latest(self, limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of all, newest first."""
        with translated():
            cursor = self._collection.find({}, {"_id": 0}, sort=[("at", DESCENDING)], limit=limit, hint="expiry")
            return [Attempt(**document) for document in await cursor.to_list(None)]

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[Tally]:
        """Count attempts by minute and result, from `since` to before `until`."""
        minute = {"$dateTrunc": {"date": "$at", "unit": "minute"}}
        pipeline: list[Document] = [
            {"$match": {"at": {"$gte": since, "$lt": until}}},
            {"$group": {"_id": {"minute": minute, "result": "$result"}, "count": {"$sum": 1}}},
        ]
        with translated():
            found = await self._collection.aggregate(pipeline, hint="expiry").to_list(None)
        return [Tally(one["_id"]["minute"], one["_id"]["result"], one["count"]) for one in found]


class MongoRemovals:
    """The evidence of removals in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database["removals"]

    async def add(self, removals: Sequence[Removal]) -> None:
        """Record; the same removal again changes nothing."""
        if removals:
            documents = [removal_facts(removal) for removal in removals]
            requests = [UpdateOne({"_id": one.pop("id")}, {"$setOnInsert": one}, upsert=True) for one in documents]
            with translated():
                await self._collection.bulk_write(requests, ordered=False)

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        """Return the evidence of a listing, oldest first."""
        with translated():
            query = {"listing_key": listing_key, "feed": feed}
            documents = await self._collection.find(query, sort=[("removed_at", ASCENDING)]).to_list(None)
        return [_removal(document) for document in documents]

    async def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        """Yield the evidence of a period, its end excluded, oldest first; of one feed or of all."""
        query: Document = {"removed_at": {"$gte": begin, "$lt": end}, **({"feed": feed} if feed else {})}
        hint = "evidence_of_feed" if feed else "evidence"
        with translated():
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
        with translated():
            documents = await self._collection.find(query, sort=order, hint=hint, limit=most).to_list(None)
        return [_removal(document) for document in documents]


def _removal(document: Document) -> Removal:
    return Removal(
        id=document.pop("_id"),
        off_market_at=document.pop("left_at", None),
        unshown_at=document.pop("record_gone_at", None),
        remained=tuple(document.pop("remained", ())),
        **document,
    )


class MongoHandledDeadLetters:
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
            with translated():
                await self._collection.bulk_write(requests, ordered=False)

    async def since(self, oldest: datetime) -> Collection[Place]:
        """Return the marks of dead letters that are as new as that."""
        query, wanted = {"at": {"$gte": oldest}}, {"_id": 0, "partition": 1, "offset": 1, "at": 1}
        with translated():
            return {Place(**one) for one in await self._collection.find(query, wanted).to_list(None)}


def _place_id(place: Place) -> str:
    return f"{place.partition}/{place.offset}/{place.at.isoformat()}"
