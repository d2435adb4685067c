"""What is answered of displayed listings, read from MongoDB without threads (docs/adr/0003)."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress

from shared.domain.listing import Listing
from shared.render import Renderer
from shared.stores.answers import Answer, PhotoAnswer, ShownPhoto
from shared.stores.documents import (
    Document,
    ListingId,
    announced_under,
    fragments_of,
    from_document,
    to_document,
)
from shared.stores.errors import StoreUnavailable
from shared.stores.listings import ListingRecords
from shared.stores.mongo.connection import AnswersDatabase, translated

_ONE_BATCH = 1_000
"""Documents in the first batch of a cursor: more than are asked for at once, so that nothing is fetched twice."""
_ANSWERED = {"_id": 0, "feed": 1, "listing_key": 1, "rendered_by": 1, "missing": 1}
"""What every answer needs of a listing."""
_RECORDED_AGAIN_SECONDS = 60.0
_RECORDING_SECONDS = 1.0
"""Less than a reading may take, so that one whose record hangs is answered all the same."""


class MongoAnswers:
    """The answers in MongoDB. `listings` records those that had to be rendered anew."""

    def __init__(self, database: AnswersDatabase, listings: ListingRecords, renderer: Renderer) -> None:
        self._collection = database["listings"]
        self._listings = listings
        self._renderer = renderer
        self._recorded_at: OrderedDict[ListingId, float] = OrderedDict()

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
        read = await asyncio.gather(*map(self._aggregate, pipelines))
        found = [from_document(document) for documents in read for document in documents]
        return [ShownPhoto(one.feed, one.key, photo, one.photo_due_at(photo)) for one in found for photo in one.photos]

    async def photo_answers(self, url_keys: Collection[str], *, every: bool) -> Sequence[PhotoAnswer]:
        """Return the answers of displayed listings' photos that were announced under one of the URLs.

        Of a listing every such photo, or only the first, which takes two thirds of the time.
        """
        wanted, keys = frozenset(url_keys), list(url_keys)
        first = {"$elemMatch": {"url_keys": {"$in": keys}}}
        picked = {"$filter": {"input": "$rendered", "cond": _announced_under(keys)}} if every else first
        found = await self._answered({"photos.url_keys": {"$in": keys}, "displayed": True}, picked)
        return [PhotoAnswer.read(one, photo) for one in found for photo in announced_under(one, wanted)]

    async def answers(self, listing_keys: Collection[str], photos: int | None) -> Sequence[Answer]:
        """Return the displayed listings' answers, with at most so many photos each."""
        query = {"listing_key": {"$in": list(listing_keys)}, "displayed": True}
        found = await self._answered(query, {"$slice": photos} if photos is not None else {"json": 1})
        return [Answer(one["feed"], one["listing_key"], fragments_of(one, photos), one["missing"]) for one in found]

    async def _aggregate(self, pipeline: list[Document]) -> list[Document]:
        with translated():
            cursor = await self._collection.aggregate(pipeline, batchSize=_ONE_BATCH)
            return await cursor.to_list(None)

    async def _answered(self, query: Document, picked: Document) -> Sequence[Document]:
        """Return what answers need of listings, of `rendered` what is picked; whole where it had to be rendered anew.

        That is recorded, or else each reading would take seven times as long from the day on when the public address or
        the rules change.
        """
        with translated():
            cursor = self._collection.find(query, _ANSWERED | {"rendered": picked}, batch_size=_ONE_BATCH)
            documents: list[Document] = await cursor.to_list(None)
        version = self._renderer.version
        current = [one for one in documents if one["rendered_by"] == version]
        if len(current) == len(documents):
            return current
        outdated = [(one["feed"], one["listing_key"]) for one in documents if one["rendered_by"] != version]
        listings = [one for one in (await self._listings.get_many(outdated)).values() if one.is_displayed]
        await self._record_at_times(listings)
        return [*current, *(to_document(one, one.revision, self._renderer) for one in listings)]

    async def _record_at_times(self, listings: Sequence[Listing]) -> None:
        """Record what was rendered anew, if it can be done soon: whoever asks has the answer without it.

        Once a minute a listing: two processes of different settings, side by side, would do so by turns without end.
        """
        now = time.monotonic()
        while self._recorded_at and next(iter(self._recorded_at.values())) <= now - _RECORDED_AGAIN_SECONDS:
            self._recorded_at.popitem(last=False)
        some = [one for one in listings if (one.feed, one.key) not in self._recorded_at]
        self._recorded_at |= {(one.feed, one.key): now for one in some}
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_RECORDING_SECONDS):
                await self._listings.write(some)


def _announced_under(url_keys: Collection[str]) -> Document:
    """Return the expression that a photo, `$$this`, was announced under one of the URLs."""
    is_meant = {"$in": ["$$key", {"$literal": list(url_keys)}]}  # a sixth faster than to intersect the two
    keys = {"$ifNull": ["$$this.url_keys", []]}  # of older rules there is none
    return {"$anyElementTrue": [{"$map": {"input": keys, "as": "key", "in": is_meant}}]}
