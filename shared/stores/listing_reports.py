"""How does a feed stand? Counts and tables of listings for operators and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.image import Status
from shared.stores.summaries import ListingSummary


@dataclass(frozen=True, slots=True)
class FeedCounts:
    """How a feed stands: its listings, its photos by status, and its queue."""

    listings: int
    displayed: int
    images: Mapping[Status, int]
    """Photos by status."""
    queued: Mapping[str, int]
    """Photos that want an attempt, by the name of their priority; a priority without any is absent."""
    in_flight: int
    """Photos in flight."""
    oldest_due_at: datetime | None
    """When the photo that has been due longest became due; None if no photo wants an attempt."""


class ListingReports(Protocol):
    """Counts listings and photos, and shows the queue."""

    async def feeds(self) -> Sequence[str]:
        """Return the names of all feeds of which listings are recorded, in order."""

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        """Count a feed's listings, photos and queue."""

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[ListingSummary]:
        """Return up to `limit` listings with due photos, as `ReleaseQueue.due` sorts them, or the longest due first."""

    async def upcoming(self, feed: str, now: datetime, limit: int) -> Sequence[ListingSummary]:
        """Return up to `limit` listings whose next attempt is not due yet, or in flight, the soonest first."""
