"""Which listings have photos that are due? The scheduler's part of the store of listings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.listings import ListingRecords


class ReleaseQueue(ListingRecords, Protocol):
    """Listings in the order in which their photos are to be released, and those whose copies are to be rechecked."""

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings with due photos: the most urgent first, among equals the longest due."""

    async def oldest_due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings with due photos, the longest due first, whatever their priority."""

    async def in_flight(self, feed: str, now: datetime) -> int:
        """Return how many photos are in flight, of listings that hold a lease that has not ended."""

    async def ahead_of(self, feed: str, priority: Priority, due_at: datetime, now: datetime) -> int:
        """Return how many photos are released before one of this priority and due time.

        Those are the more urgent ones that are due by then or now, and the equally urgent ones that are due earlier.
        """

    async def recheck_due(self, feed: str, before: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings with copies last checked before a time, the longest ago first."""

    async def recheck_count(self, feed: str, before: datetime) -> int:
        """Return how many listings have copies that were last checked before a time."""
