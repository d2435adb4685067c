"""Finds listings with due photos, and with copies to recheck: the scheduler's queries on the listings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.listings import ListingRecords


class ReleaseQueue(ListingRecords, Protocol):
    """Finds the listings of a feed whose photos are due or in flight, or whose copies need a recheck.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of a feed that have photos due at `now`, in the order of their release.

        The listing with the most urgent due photo comes first; of listings with the same priority, the one that is due
        longest. Raises StoreUnavailable.
        """

    async def oldest_due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of a feed that have photos due at `now`, the one that is due longest first.

        The photos' priority does not matter. Raises StoreUnavailable.
        """

    async def in_flight(self, feed: str, now: datetime) -> int:
        """Return how many photos of a feed are in flight at `now`.

        The number may be too high: a listing's photos in flight are all counted until the last of their leases has
        ended. Raises StoreUnavailable.
        """

    async def ahead_of(self, feed: str, priority: Priority, due_at: datetime, now: datetime) -> int:
        """Estimate how many photos of a feed are to be released before a photo with a given priority and due time.

        `priority` and `due_at` are those of the photo. The result counts photos with a more urgent priority that are
        due at `now` or at `due_at`, whichever is later, and photos with the same priority that are due before `due_at`.
        It is an estimate: all photos of a listing with one priority count as due when the first of them is. Raises
        StoreUnavailable.
        """

    async def recheck_due(self, feed: str, before: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of a feed with a copy that was last checked at the time `before` or earlier.

        The listing whose copy was checked longest ago comes first. Raises StoreUnavailable.
        """

    async def recheck_count(self, feed: str, before: datetime) -> int:
        """Return how many listings of a feed have a copy that was last checked at the time `before` or earlier.

        Raises StoreUnavailable.
        """
