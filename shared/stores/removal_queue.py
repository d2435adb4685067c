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
        """Return how many listings of a feed turned hidden after `since` and not after `until`, to recognize a burst.

        Counted are listings that were displayed before and are now hidden for `reason`; one that is shown again, or
        was hidden at its first announcement already, is left out. Raises StoreUnavailable.
        """

    async def displayed_count(self, feed: str) -> int:
        """Return how many recorded listings of a feed are displayed now. Raises StoreUnavailable."""
