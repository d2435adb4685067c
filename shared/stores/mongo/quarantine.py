"""Takes a listing that cannot be read or written out of all queues for an hour, so that the work on others goes on."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from motor.motor_asyncio import AsyncIOMotorCollection

from shared import log
from shared.clock import utc_now
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.documents import Document, from_document
from shared.stores.mongo.connection import translated

QUARANTINE = timedelta(hours=1)
_TIMES = ("due_at", "removal_due_at", "checked_at", *(f"queue.{priority}.due_at" for priority in Priority))
"""The fields by which the queues find a listing."""

_logger = log.get(__name__)


async def quarantine(collection: "AsyncIOMotorCollection[Document]", document_id: str, reason: str) -> None:
    """Take a listing out of all queues for an hour: move each of its due times to an hour from now, or later.

    The reason is noted in the listing's document, and an error is logged. `collection` is MongoDB's collection of
    listings, and `document_id` the `_id` of the document. The listing's next write computes the times anew and removes
    the note. Raises StoreUnavailable.
    """
    feed, _, listing_key = document_id.partition("\n")
    _logger.error("listing-quarantined", feed=feed, listing_key=listing_key, reason=reason)
    now = utc_now()
    with translated():
        found = await collection.find_one({"_id": document_id}, dict.fromkeys(_TIMES, 1))
        if found is None:
            return
        later = {field: now + QUARANTINE for field in _TIMES if _has(found, field)}
        note = {"quarantined": {"at": now, "reason": reason[:200]}}
        await collection.update_one({"_id": document_id}, {"$max": later, "$set": note})


async def readable(collection: "AsyncIOMotorCollection[Document]", documents: Iterable[Document]) -> Sequence[Listing]:
    """Return the listings of the documents that can be read, in the documents' order; quarantine the other listings.

    A document cannot be read if, for example, a later version of this program has written a status that this version
    does not know. Raises StoreUnavailable.
    """
    listings: list[Listing] = []
    for document in documents:
        try:
            listings.append(from_document(document))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await quarantine(collection, document["_id"], f"it cannot be read: {type(error).__name__}: {error}")
    return listings


def _has(document: Any, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True
