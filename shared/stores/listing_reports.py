"""Counts and tables of a feed's listings and photos, for operators and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.image import Status
from shared.stores.summaries import ListingSummary


@dataclass(frozen=True, slots=True)
class FeedCounts:
    """The numbers of a feed's listings and photos, and of its queue."""

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
        """Return the counts of a feed's listings and photos, and of its queue at `now`."""

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[ListingSummary]:
        """Return up to `limit` listings with due photos, in the order of their release (`ReleaseQueue.due`).

        With `by_age`, the longest due come first, whatever their priority.
        """

    async def upcoming(self, feed: str, now: datetime, limit: int) -> Sequence[ListingSummary]:
        """Return up to `limit` listings that have no due photo, but one that will be due, the soonest first.

        A photo in flight will be due when its lease ends.
        """
