"""The listings: the truth of the system. This is the part of the store that reads and writes them by id.

The parts with a purpose of their own are in `release_queue`, `removal_queue`, `listing_search` and `listing_reports`.
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
        """Return listings by id, in one round trip. Those that are not recorded are absent."""

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        """Write listings, each with its revision raised by one; return the ids of those that were refused.

        A listing is refused if the recorded revision is another than its own, that is, if someone else has written it
        since it was read. The others are written all the same. A listing that is not recorded yet is inserted.
        """

    async def recorded_states(self, ids: Collection[ListingId]) -> Mapping[ListingId, RecordedState]:
        """Return by id which version of each listing is recorded, in one round trip; no photos are read.

        Those that are not recorded are absent.
        """

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of a feed by ListingKey, beginning behind the key `after`; "" is the start."""

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        """Return up to `limit` ListingKeys of a feed's displayed listings, in order, beginning behind `after`."""

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of which the named downloader has claimed photos."""
