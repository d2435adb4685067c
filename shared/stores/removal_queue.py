"""Which listings' removals are due, and which are held? The janitor's part of the store of listings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.listing import Listing, RemovalReason
from shared.stores.listings import ListingRecords


class RemovalQueue(ListingRecords, Protocol):
    """Listings whose removals are due or held, and the counts by which a burst is recognised."""

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings, of any feed, of which something must be removed, the longest due first."""

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        """Return up to `limit` hidden listings whose removal is held until an operator decides."""

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        """Count the listings that are hidden for this reason, were displayed before, and were hidden in a period.

        The period begins after `since` and ends at `until`, which is part of it.
        """

    async def displayed_count(self, feed: str) -> int:
        """Return how many of a feed's listings are displayed."""
