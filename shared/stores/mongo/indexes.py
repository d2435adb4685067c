"""The indexes: every query that a loop or a request makes has one."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel

from shared.domain.image import Status
from shared.domain.priority import Priority
from shared.stores.mongo.connection import Database, translated

_ATTEMPTS_KEPT = timedelta(days=90)
_MARKS_KEPT = timedelta(days=100)
"""Longer than the dead letters themselves."""

COUNTED = [*(f"counts.{status}" for status in Status), *(f"queue.{priority}.photos" for priority in Priority)]

INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "listings": [
        IndexModel([("listing_key", ASCENDING), ("feed", ASCENDING)], name="listing_key_1_feed_1"),
        *(
            IndexModel(
                [("feed", ASCENDING), (f"queue.{one}.due_at", ASCENDING), (f"queue.{one}.photos", ASCENDING)],
                name=f"due_{one}",
                partialFilterExpression={f"queue.{one}.due_at": {"$exists": True}},
            )
            for one in Priority
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
        IndexModel([("photos.id", ASCENDING)]),
        IndexModel([("photos.url_keys", ASCENDING)]),
        IndexModel(
            [(name, ASCENDING) for name in ("feed", "displayed", "listing_key", *COUNTED)],
            name="counted",
        ),
        # What an operator's tables are filtered by, each in the order of the key.
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
        IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=int(_ATTEMPTS_KEPT.total_seconds())),
    ],
    "removals": [
        IndexModel([("listing_key", ASCENDING), ("feed", ASCENDING), ("removed_at", ASCENDING)]),
        IndexModel([("removed_at", ASCENDING), ("_id", ASCENDING)], name="evidence"),
        IndexModel([("feed", ASCENDING), ("removed_at", ASCENDING), ("_id", ASCENDING)], name="evidence_of_feed"),
    ],
    "dead_letters": [
        IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=int(_MARKS_KEPT.total_seconds())),
    ],
}
"""Every query that a loop or a request makes has its index here; `imagectl indexes apply` creates them."""


async def apply_indexes(database: Database) -> list[str]:
    """Create every index that is missing; return the names of all."""
    names: list[str] = []
    with translated():
        for collection, indexes in INDEXES.items():
            names += [f"{collection}.{name}" for name in await database[collection].create_indexes(list(indexes))]
    return names


async def missing_indexes(database: Database) -> list[str]:
    """Return the names of the indexes that `apply_indexes` would create."""
    missing: list[str] = []
    with translated():
        for collection, indexes in INDEXES.items():
            there = await database[collection].index_information()
            names = [str(index.document["name"]) for index in indexes]
            missing += [f"{collection}.{name}" for name in names if name not in there]
    return missing
