"""The janitor's queries on the listings in MongoDB."""

from collections.abc import Sequence
from datetime import datetime

from pymongo import ASCENDING

from shared.domain.listing import UNTIL_DECIDED, Listing, RemovalReason
from shared.stores.mongo.listing_records import MongoListingRecords


class MongoRemovalQueue(MongoListingRecords):
    """Finds listings in MongoDB whose removals are due or held; implements RemovalQueue for the janitor."""

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        query = {"removal_due_at": {"$lte": now}}
        return await self._queued(query, sort=[("removal_due_at", ASCENDING)], limit=limit, hint="removal_due")

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        query = {"feed": feed, "hidden.reason": reason, "hidden.held_until": UNTIL_DECIDED}
        return await self._queued(query, limit=limit, hint="held")

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        within = {"$gt": since, "$lte": until}
        query = {"feed": feed, "hidden.reason": reason, "hidden.was_displayed": True, "hidden.since": within}
        return await self._count(query, hint="turned_hidden")

    async def displayed_count(self, feed: str) -> int:
        return await self._count({"feed": feed, "displayed": True}, hint="counted")
