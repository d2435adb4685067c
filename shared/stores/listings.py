"""Reads and writes the records of listings by id. All other data can be derived from these records.

Queries for one purpose are in `release_queue`, `removal_queue`, `listing_search` and `listing_reports`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.listing import Listing, RecordedState, Unannounced
from shared.stores.documents import ListingId


class ListingRecords(Protocol):
    """Reads and writes the records of listings by feed and ListingKey.

    Each method raises StoreUnavailable if the database does not answer.

    A write is refused if the listing was written by others since it was read.
    """

    async def get(self, feed: str, listing_key: str) -> Listing | None:
        """Return the recorded listing of a feed with this ListingKey; None if there is none.

        Raises StoreUnavailable.
        """

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        """Return the recorded listings among `ids`, by id, in one round trip.

        Listings that are not recorded are absent. Raises StoreUnavailable.
        """

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        """Write listings, each with its revision raised by one; return the ids of those whose write was refused.

        A write is refused if the recorded revision differs from the listing's own: another writer has written the
        listing since it was read. A refused write does not keep the other listings from being written. A listing that
        is not recorded yet is inserted.

        Raises StoreUnavailable if the database does not answer; some listings may be written nevertheless. Raises
        ListingsUnwritable if some listings are too large for the store: these are quarantined, and the others are
        written.
        """

    async def recorded_states(self, ids: Collection[ListingId]) -> Mapping[ListingId, RecordedState]:
        """Return for each recorded listing among `ids` its version and whether it is displayed, by id.

        The method takes one round trip and reads no photos. Listings that are not recorded are absent. Raises
        StoreUnavailable.
        """

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        """Return up to `limit` recorded listings of a feed, displayed or hidden, sorted by ListingKey.

        Only listings whose ListingKey sorts after `after` are returned; "" excludes none. Raises StoreUnavailable.
        """

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        """Return the ListingKeys, sorted, of up to `limit` displayed listings of a feed.

        Only ListingKeys that sort after `after` are returned; "" excludes none. Raises StoreUnavailable.
        """

    async def unannounced(self, before: datetime, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings of any feed that have a mark in `unannounced` from before the time `before`.

        A mark says that `image-downloaded` is still to be published for a photo. Raises StoreUnavailable.
        """

    async def clear_unannounced(self, announced: Iterable[tuple[ListingId, Unannounced]]) -> None:
        """Remove marks from the field `unannounced` of their listings, in one round trip: their events are published.

        `announced` has pairs of a listing's id and a mark of the listing. A mark that the listing no longer has is
        ignored. The revisions of the listings do not change. So if a listing was read before this call and is written
        after it, the write brings its mark back. Raises StoreUnavailable; some of the marks may be removed
        nevertheless.
        """

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        """Return up to `limit` listings, of any feed, that have photos claimed by the downloader named `worker`.

        Raises StoreUnavailable.
        """
