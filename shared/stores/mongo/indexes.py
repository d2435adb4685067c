"""The indexes of the collections. Each query of a loop or of a request has an index that serves it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel

from shared.domain.image import Status
from shared.domain.priority import Priority
from shared.stores.mongo.connection import Database, translated

_ATTEMPTS_KEPT_FOR = timedelta(days=90)
_HANDLED_KEPT_FOR = timedelta(days=100)
"""Longer than Kafka keeps the dead letters themselves."""

COUNTED = [*(f"counts.{status}" for status in Status), *(f"queue.{priority}.photos" for priority in Priority)]
"""The stored numbers whose sums are a feed's counts; an index holds them, so that no document is read."""

INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "no_photos": [IndexModel([("feed", ASCENDING), ("sha256", ASCENDING)], name="feed_1_sha256_1", unique=True)],
    "listings": [
        IndexModel([("listing_key", ASCENDING), ("feed", ASCENDING)], name="listing_key_1_feed_1"),
        *(
            IndexModel(
                [("feed", ASCENDING), (f"queue.{priority}.due_at", ASCENDING), (f"queue.{priority}.photos", ASCENDING)],
                name=f"due_{priority}",
                partialFilterExpression={f"queue.{priority}.due_at": {"$exists": True}},
            )
            for priority in Priority
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
        IndexModel(
            [("unannounced.at", ASCENDING)],
            name="unannounced",
            partialFilterExpression={"unannounced.at": {"$exists": True}},
        ),
        IndexModel(
            [("feed", ASCENDING), ("quarantined.at", ASCENDING)],
            name="quarantined",
            partialFilterExpression={"quarantined.at": {"$exists": True}},
        ),
        IndexModel([("photos.id", ASCENDING)]),
        IndexModel([("photos.url_keys", ASCENDING)]),
        IndexModel(
            [(name, ASCENDING) for name in ("feed", "displayed", "listing_key", *COUNTED)],
            name="counted",
        ),
        # For the filters of operators' tables, each in the order of the ListingKey.
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
        IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=int(_ATTEMPTS_KEPT_FOR.total_seconds())),
    ],
    "removals": [
        IndexModel([("listing_key", ASCENDING), ("feed", ASCENDING), ("removed_at", ASCENDING)]),
        IndexModel([("removed_at", ASCENDING), ("_id", ASCENDING)], name="evidence"),
        IndexModel([("feed", ASCENDING), ("removed_at", ASCENDING), ("_id", ASCENDING)], name="evidence_of_feed"),
    ],
    "pushed_keys": [IndexModel([("feed", ASCENDING), ("at", ASCENDING)], name="oldest")],
    "dead_letters": [
        IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=int(_HANDLED_KEPT_FOR.total_seconds())),
    ],
}
"""The indexes of each collection; `imagectl indexes apply` creates them."""


async def apply_indexes(database: Database) -> list[str]:
    """Create the missing indexes of all collections of `database`. With large collections, this takes minutes.

    Return the names of all indexes in INDEXES, new or not, as `collection.index`. Raises StoreUnavailable.
    """
    names: list[str] = []
    with translated():
        for collection, indexes in INDEXES.items():
            names += [f"{collection}.{name}" for name in await database[collection].create_indexes(list(indexes))]
    return names


async def missing_indexes(database: Database) -> list[str]:
    """Return the names, as `collection.index`, of the indexes in INDEXES that `database` lacks; empty if it has all.

    Raises StoreUnavailable.
    """
    missing: list[str] = []
    with translated():
        for collection, indexes in INDEXES.items():
            present = await database[collection].index_information()
            names = [str(index.document["name"]) for index in indexes]
            missing += [f"{collection}.{name}" for name in names if name not in present]
    return missing
