"""Finds listings whose removals are due or held, and counts bursts: the janitor's queries on the listings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.listing import Listing, RemovalReason
from shared.stores.listings import ListingRecords


class RemovalQueue(ListingRecords, Protocol):
    """Finds listings whose removals are due or held, and counts listings that became hidden, to recognize a burst.

    A burst is so many listings hidden within an hour that the feed may be at fault. Each method raises StoreUnavailable
    if the database does not answer.
    """

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings, of any feed, that have a removal due at `now`, the one due longest first.

        Raises StoreUnavailable.
        """

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of a feed that are hidden for `reason` and whose removals a hold keeps waiting.

        Their photos are removed only if an operator resumes the removals. Raises StoreUnavailable.
        """

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        """Return how many listings of a feed became hidden for `reason` after `since` and not after `until`.

        By this number, a burst is recognized. A listing counts if it was displayed before and is hidden now. A listing
        that is displayed again, or that was hidden from its first announcement on, does not count. Raises
        StoreUnavailable.
        """

    async def displayed_count(self, feed: str) -> int:
        """Return how many recorded listings of a feed are displayed now. Raises StoreUnavailable."""
