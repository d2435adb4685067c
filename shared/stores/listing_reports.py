"""Counts and tables of a feed's listings and photos, for operators and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.image import Status
from shared.stores.summaries import ListingSummary


@dataclass(frozen=True, slots=True)
class FeedCounts:
    """How many listings and photos one feed has, and how many photos are in its queue, at one moment.

    `listings` is the number of all recorded listings, `displayed` of those that are displayed. `images` has the number
    of photos by status, `queued` the number of photos that want an attempt, by the name of their priority.
    `oldest_due_at` is the earliest time at which a photo is due, None if no photo wants an attempt.
    """

    listings: int
    displayed: int
    images: Mapping[Status, int]
    """Photos by status."""
    queued: Mapping[str, int]
    """Photos that want an attempt, by the name of their priority; a priority without any is absent."""
    in_flight: int
    """Photos in flight."""
    oldest_due_at: datetime | None
    """The earliest time at which a photo is due; None if no photo wants an attempt."""


class ListingReports(Protocol):
    """Counts listings and photos of a feed, and lists what is in its queue.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def feeds(self) -> Sequence[str]:
        """Return the names of all feeds of which a listing is recorded, sorted. Raises StoreUnavailable."""

    async def quarantined_count(self, feed: str) -> int:
        """Return how many recorded listings of a feed are quarantined: their documents cannot be read or written.

        Raises StoreUnavailable.
        """

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        """Count a feed's recorded listings and photos, and the photos in its queue at `now`.

        Raises StoreUnavailable.
        """

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[ListingSummary]:
        """Return up to `limit` listings of a feed that have photos due at `now`, the most urgent first.

        A listing is as urgent as its most urgent due photo; of listings with the same priority, the one that is due
        longest comes first. If `by_age` is True, the priority does not count: the longest due listing comes first of
        all. Raises StoreUnavailable.
        """

    async def upcoming(self, feed: str, now: datetime, limit: int) -> Sequence[ListingSummary]:
        """Return up to `limit` listings of a feed that have photos due after `now` and none before, the soonest first.

        A photo in flight is due when its lease ends. Raises StoreUnavailable.
        """
