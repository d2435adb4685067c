"""Finds listings with due photos, and with copies to recheck: the scheduler's queries on the listings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.listings import ListingRecords


class ReleaseQueue(ListingRecords, Protocol):
    """Finds listings in the order in which their photos are to be released, and those whose copies need a recheck."""

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings with due photos.

        The most urgent come first; of listings with the same priority, those that are due longest.
        """

    async def oldest_due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings with due photos, the longest due first, whatever their priority."""

    async def in_flight(self, feed: str, now: datetime) -> int:
        """Return how many photos are in flight, in listings with a released photo whose lease has not ended."""

    async def ahead_of(self, feed: str, priority: Priority, due_at: datetime, now: datetime) -> int:
        """Return how many photos are to be released before a photo with this priority and due time.

        These are the photos with a more urgent priority that are due by `due_at` or `now`, whichever is later, and the
        photos with the same priority that are due before `due_at`.
        """

    async def recheck_due(self, feed: str, before: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings with a copy last checked at or before `before`, the longest ago first."""

    async def recheck_count(self, feed: str, before: datetime) -> int:
        """Return how many listings have a copy that was last checked at or before `before`."""
