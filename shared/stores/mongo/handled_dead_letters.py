"""Handled dead letters in MongoDB."""

from collections.abc import Collection, Sequence
from datetime import datetime

from pymongo import UpdateOne

from shared.stores.documents import Document
from shared.stores.handled_dead_letters import RecordPlace
from shared.stores.mongo.connection import Database, translated


class MongoHandledDeadLetters:
    """Stores in MongoDB which dead letters were handled, one document for each; implements HandledDeadLetters.

    An index deletes the documents after 100 days, when Kafka has deleted the dead letters themselves.
    """

    def __init__(self, database: Database) -> None:
        self._collection = database["dead_letters"]

    async def add(self, places: Sequence[RecordPlace], how: str) -> None:
        requests = [
            UpdateOne({"_id": _id(place)}, {"$setOnInsert": _to_document(place, how)}, upsert=True) for place in places
        ]
        if requests:
            with translated():
                await self._collection.bulk_write(requests, ordered=False)

    async def since(self, oldest: datetime) -> Collection[RecordPlace]:
        with translated():
            found = await self._collection.find({"at": {"$gte": oldest}}).to_list(None)
        return {RecordPlace(document["partition"], document["offset"], document["at"]) for document in found}


def _id(place: RecordPlace) -> str:
    return f"{place.partition}/{place.offset}/{place.at.isoformat()}"


def _to_document(place: RecordPlace, how: str) -> Document:
    return {"partition": place.partition, "offset": place.offset, "at": place.at, "how": how}
