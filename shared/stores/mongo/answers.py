"""Reads the answers of displayed listings from MongoDB, by PyMongo's asyncio client without threads (docs/adr/0003)."""

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
    from_document,
    rendered_under_urls,
    to_document,
)
from shared.stores.errors import StoreUnavailable
from shared.stores.listings import ListingRecords
from shared.stores.mongo.connection import AnswersDatabase, translated

_CURSOR_BATCH_SIZE = 1_000
"""Documents in the first batch of a cursor: more than one call asks for, so that one round trip fetches all."""
_ANSWER_FIELDS = {"_id": 0, "feed": 1, "listing_key": 1, "rendered_by": 1, "missing": 1, "counts": 1}
"""The fields of a listing that every answer needs, besides its part of `rendered`."""
_REWRITE_INTERVAL_SECONDS = 60.0
"""The least time between two writes of a listing, since two processes with different settings would each undo what the
other has written, without end."""
_REWRITE_TIMEOUT_SECONDS = 1.0
"""Shorter than the limit of a read, so that a write that hangs does not fail the read."""


class MongoAnswers:
    """Reads from MongoDB what frontends get; implements Answers.

    Listings whose stored fragments were made by other rules or settings are rendered anew by `renderer`, and written
    back through `listings`.
    """

    def __init__(self, database: AnswersDatabase, listings: ListingRecords, renderer: Renderer) -> None:
        self._collection = database["listings"]
        self._listings = listings
        self._renderer = renderer
        self._rewritten_at: OrderedDict[ListingId, float] = OrderedDict()

    async def showing(self, image_ids: Collection[str], url_keys: Collection[str]) -> Sequence[ShownPhoto]:
        queries = [
            ("photos.id", image_ids, {"$in": ["$$this.id", {"$literal": list(image_ids)}]}),
            ("photos.url_keys", url_keys, _announced_under(url_keys)),
        ]
        pipelines: list[list[Document]] = [
            [
                {"$match": {field: {"$in": list(names)}, "displayed": True}},
                {"$set": {"photos": {"$filter": {"input": "$photos", "cond": is_wanted}}}},
                {"$unset": "rendered"},
            ]
            for field, names, is_wanted in queries
            if names
        ]
        read = await asyncio.gather(*map(self._aggregate, pipelines))
        listings = [from_document(document) for documents in read for document in documents]
        return [
            ShownPhoto(listing.feed, listing.key, photo, listing.photo_due_at(photo))
            for listing in listings
            for photo in listing.photos
        ]

    async def photo_answers(self, url_keys: Collection[str], *, every: bool) -> Sequence[PhotoAnswer]:
        wanted, keys = frozenset(url_keys), list(url_keys)
        # To select only the first photo takes a third of the time that it takes to select all.
        first = {"$elemMatch": {"url_keys": {"$in": keys}}}
        picked = {"$filter": {"input": "$rendered", "cond": _announced_under(keys)}} if every else first
        found = await self._find_rendered({"photos.url_keys": {"$in": keys}, "displayed": True}, picked)
        return [
            PhotoAnswer.from_documents(document, rendered)
            for document in found
            for rendered in rendered_under_urls(document, wanted)
        ]

    async def answers(self, listing_keys: Collection[str], photos: int | None) -> Sequence[Answer]:
        query = {"listing_key": {"$in": list(listing_keys)}, "displayed": True}
        found = await self._find_rendered(query, {"$slice": photos} if photos is not None else {"json": 1})
        return [Answer.from_document(document, photos) for document in found]

    async def _aggregate(self, pipeline: list[Document]) -> list[Document]:
        with translated():
            cursor = await self._collection.aggregate(pipeline, batchSize=_CURSOR_BATCH_SIZE)
            return await cursor.to_list(None)

    async def _find_rendered(self, query: Document, projection: Document) -> Sequence[Document]:
        """Return MongoDB documents of the listings that match a query, with the fields that answers need.

        Each document has the fields in _ANSWER_FIELDS, and what `projection` selects of its list `rendered`. A listing
        whose stored fragments were made by other rules or settings is rendered anew. If it is still displayed, its
        whole document is returned, and written back too, since each later read would otherwise take seven times as
        long. Raises StoreUnavailable.
        """
        with translated():
            cursor = self._collection.find(
                query, _ANSWER_FIELDS | {"rendered": projection}, batch_size=_CURSOR_BATCH_SIZE
            )
            documents: list[Document] = await cursor.to_list(None)
        version = self._renderer.version
        current = [document for document in documents if document["rendered_by"] == version]
        if len(current) == len(documents):
            return current
        outdated = [
            (document["feed"], document["listing_key"]) for document in documents if document["rendered_by"] != version
        ]
        read = (await self._listings.get_many(outdated)).values()
        listings = [listing for listing in read if listing.is_displayed]
        await self._rewrite(listings)
        return [*current, *(to_document(listing, listing.revision, self._renderer) for listing in listings)]

    async def _rewrite(self, listings: Sequence[Listing]) -> None:
        """Write listings that were rendered anew to MongoDB, each at most once a minute.

        If the store fails or takes longer than a second, some or all of them are not written, and no error is raised.
        """
        now = time.monotonic()
        while self._rewritten_at and next(iter(self._rewritten_at.values())) <= now - _REWRITE_INTERVAL_SECONDS:
            self._rewritten_at.popitem(last=False)
        due = [listing for listing in listings if (listing.feed, listing.key) not in self._rewritten_at]
        self._rewritten_at |= {(listing.feed, listing.key): now for listing in due}
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_REWRITE_TIMEOUT_SECONDS):
                await self._listings.write(due)


def _announced_under(url_keys: Collection[str]) -> Document:
    """Return a MongoDB expression for `$filter`: true if the element `$$this` has a URL key in `url_keys`.

    The element is one of a listing's `photos` or `rendered`: a photo that was announced under one of these URLs.
    """
    is_wanted = {"$in": ["$$key", {"$literal": list(url_keys)}]}  # a sixth faster than `$setIntersection`
    keys = {"$ifNull": ["$$this.url_keys", []]}  # fragments of older rules have none
    return {"$anyElementTrue": [{"$map": {"input": keys, "as": "key", "in": is_wanted}}]}
