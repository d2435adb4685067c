"""Finds listings whose removals are due or held, and counts bursts: the janitor's queries on the listings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.listing import Listing, RemovalReason
from shared.stores.listings import ListingRecords


class RemovalQueue(ListingRecords, Protocol):
    """Finds listings whose removals are due or held, and counts those that turned hidden, to recognize a burst.

    A burst is so many listings hidden within an hour that the feed may be at fault. Each method raises
    StoreUnavailable.
    """

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings, of any feed, that have a removal due at `now`, the longest due first.

        Raises StoreUnavailable.
        """

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of a feed that are hidden for `reason` and wait for an operator's decision.

        Their photos are not removed until then. Raises StoreUnavailable.
        """

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        """Return how many displayed listings of a feed turned hidden for `reason` after `since` and not after `until`.

        Only listings that are still hidden for that reason are counted. Raises StoreUnavailable.
        """

    async def displayed_count(self, feed: str) -> int:
        """Return how many recorded listings of a feed are displayed now. Raises StoreUnavailable."""
