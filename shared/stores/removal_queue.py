"""Finds listings whose removals are due or held, and counts bursts: the janitor's queries on the listings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.listing import Listing, RemovalReason
from shared.stores.listings import ListingRecords


class RemovalQueue(ListingRecords, Protocol):
    """Finds listings whose removals are due or held, and counts listings to recognise a burst."""

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings, of any feed, with a removal due at `now`, the longest due first."""

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of a feed that are hidden for `reason` and held until an operator decides."""

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        """Return how many of a feed's displayed listings were hidden for `reason` after `since` and not after `until`.

        Only listings that are still hidden for that reason are counted.
        """

    async def displayed_count(self, feed: str) -> int:
        """Return how many of a feed's listings are displayed."""
