"""Reads and writes the records of listings by id. All other data can be derived from these records.

Queries for one purpose are in `release_queue`, `removal_queue`, `listing_search` and `listing_reports`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from shared.domain.listing import Listing, RecordedState
from shared.stores.documents import ListingId


class ListingRecords(Protocol):
    """Reads and writes listings by id. Every write is conditional on the revision that was read.

    Each method raises StoreUnavailable while the store does not answer.
    """

    async def get(self, feed: str, listing_key: str) -> Listing | None:
        """Return a listing, or None if it is not recorded."""

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        """Return the listings with these ids, by id, in one round trip. Listings that are not recorded are absent."""

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        """Write listings, each with its revision raised by one; return the ids of the listings that were refused.

        A listing is refused if its recorded revision differs from its own: another writer has written it since it was
        read. The other listings are written all the same. A listing that is not recorded yet is inserted.
        """

    async def recorded_states(self, ids: Collection[ListingId]) -> Mapping[ListingId, RecordedState]:
        """Return the recorded version and display state of each listing, by id, in one round trip; no photos are read.

        Listings that are not recorded are absent.
        """

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of a feed, in the order of their ListingKeys.

        The first is the one that follows the ListingKey `after`; "" stands for the start.
        """

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        """Return up to `limit` ListingKeys of a feed's displayed listings, in order.

        The first is the one that follows `after`; "" stands for the start.
        """

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings that have photos claimed by the downloader named `worker`."""
