"""The history of attempts in MongoDB."""

from collections.abc import Sequence
from datetime import datetime

from pymongo import DESCENDING, InsertOne

from shared.stores.attempts import Attempt, AttemptCount
from shared.stores.documents import Document
from shared.stores.mongo.connection import Database, translated


class MongoAttempts:
    """Stores the history of attempts in MongoDB, one document for each attempt; implements Attempts.

    An index deletes the documents after 90 days.
    """

    def __init__(self, database: Database) -> None:
        self._collection = database["attempts"]

    async def add(self, attempts: Sequence[Attempt]) -> None:
        if attempts:
            with translated():
                requests = [InsertOne(_to_document(attempt)) for attempt in attempts]
                await self._collection.bulk_write(requests, ordered=False)

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        with translated():
            query = {"image_id": {"$in": list(image_ids)}}
            cursor = self._collection.find(query, {"_id": 0}, sort=[("at", DESCENDING)], limit=limit)
            return [_from_document(document) for document in await cursor.to_list(None)]

    async def latest(self, limit: int) -> Sequence[Attempt]:
        with translated():
            cursor = self._collection.find({}, {"_id": 0}, sort=[("at", DESCENDING)], limit=limit, hint="expiry")
            return [_from_document(document) for document in await cursor.to_list(None)]

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[AttemptCount]:
        minute = {"$dateTrunc": {"date": "$at", "unit": "minute"}}
        pipeline: list[Document] = [
            {"$match": {"at": {"$gte": since, "$lt": until}}},
            {"$group": {"_id": {"minute": minute, "result": "$result"}, "count": {"$sum": 1}}},
        ]
        with translated():
            found = await self._collection.aggregate(pipeline, hint="expiry").to_list(None)
        return [AttemptCount(group["_id"]["minute"], group["_id"]["result"], group["count"]) for group in found]


def _to_document(attempt: Attempt) -> Document:
    return {
        "image_id": attempt.image_id,
        "feed": attempt.feed,
        "listing_key": attempt.listing_key,
        "at": attempt.at,
        "result": attempt.result,
        "detail": attempt.detail,
        "milliseconds": attempt.milliseconds,
    }


def _from_document(document: Document) -> Attempt:
    return Attempt(
        image_id=document["image_id"],
        feed=document["feed"],
        listing_key=document["listing_key"],
        at=document["at"],
        result=document["result"],
        detail=document["detail"],
        milliseconds=document["milliseconds"],
    )
