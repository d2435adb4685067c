"""The evidence of removals: which image was removed, why and when. It is kept for good."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The evidence that one image, or a superseded copy of it, was removed.

    `reason` says why it was removed, and `hidden_at` since when the image was not shown. `removed_at` is when its
    objects were deleted, and `objects` their number. `remained` has the keys of objects that storage refused to delete.
    """

    id: str
    feed: str
    listing_key: str
    image_id: str
    reason: str
    hidden_at: datetime
    """Since when the image was not shown any more."""
    removed_at: datetime
    """When its objects were deleted from both buckets."""
    objects: int
    """How many objects the image or copy had."""
    mls_status: str | None = None
    """The listing's StandardStatus when the objects were deleted."""
    off_market_at: datetime | None = None
    """When the listing or photo went off the market, by the MLS's clock; None if the MLS gave no time."""
    unshown_at: datetime | None = None
    """When the image was taken off the listing's record; None in evidence of the first releases."""
    remained: Sequence[str] = ()
    """Keys of objects that storage refused to delete. When they are deleted, other evidence is stored."""


def removal_facts(removal: Removal) -> dict[str, object]:
    """Return the evidence of one removal as a dict, by the names under which its fields are stored.

    `imagectl compliance --json` prints the same names. The times in the dict are datetime objects.
    """
    return {
        "id": removal.id,
        "feed": removal.feed,
        "listing_key": removal.listing_key,
        "image_id": removal.image_id,
        "reason": removal.reason,
        "hidden_at": removal.hidden_at,
        "removed_at": removal.removed_at,
        "objects": removal.objects,
        "mls_status": removal.mls_status,
        "left_at": removal.off_market_at,
        "record_gone_at": removal.unshown_at,
        "remained": removal.remained,
    }


RemovalCursor = tuple[datetime, str]
"""The `removed_at` and the id of a page's last removal: the next page begins after it. Many have the same time."""


class Removals(Protocol):
    """Stores the evidence of removals of all feeds; it is never deleted.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def add(self, removals: Sequence[Removal]) -> None:
        """Store the evidence of removals. If evidence with the same id is stored already, it stays as it is.

        Raises StoreUnavailable.
        """

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        """Return the evidence of all removals of one listing, the oldest first; empty if nothing was removed.

        Raises StoreUnavailable.
        """

    def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        """Yield the evidence of the removals from `begin` to before `end`, the oldest first.

        If `feed` is None, the removals of all feeds are included. Raises StoreUnavailable.
        """

    async def newest(
        self, begin: datetime, end: datetime, feed: str | None, after: RemovalCursor | None, limit: int
    ) -> Sequence[Removal]:
        """Return the evidence of up to `limit` removals from `begin` to before `end`, the newest first.

        `after` is the cursor of a removal: only removals that follow it, which are older, are returned. If `after` is
        None, the newest removal is the first. If `feed` is None, the removals of all feeds are included. Raises
        StoreUnavailable.
        """
