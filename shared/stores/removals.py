"""The evidence of removals: which image was removed, why and when. It is kept for good."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Evidence of one image, or one superseded version of it, that is no longer held."""

    id: str
    feed: str
    listing_key: str
    image_id: str
    reason: str
    hidden_at: datetime
    """Since when it was not shown any more."""
    removed_at: datetime
    """When its bytes were gone from both buckets."""
    objects: int
    mls_status: str | None = None
    """What the MLS called the listing at that time."""
    off_market_at: datetime | None = None
    """When the listing or the photo left the market, by the MLS's own clock; None where it named no time."""
    unshown_at: datetime | None = None
    """When the listing's record showed it no more."""
    remained: Sequence[str] = ()
    """The objects that storage refused to delete; another line follows once they are gone."""


def removal_facts(removal: Removal) -> dict[str, object]:
    """Return the evidence by the names that it is stored under, which `imagectl compliance --json` prints too."""
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
"""The time and id of the last removal of a page, after which the next page begins. Many removals have the same time."""


class Removals(Protocol):
    """The evidence: one line for each image removed."""

    async def add(self, removals: Sequence[Removal]) -> None:
        """Record; the same removal again changes nothing."""

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        """Return the evidence of a listing, oldest first."""

    def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        """Yield the evidence of a period, its end excluded, oldest first; of one feed or of all."""

    async def newest(
        self, begin: datetime, end: datetime, feed: str | None, after: RemovalCursor | None, limit: int
    ) -> Sequence[Removal]:
        """Return so much of the same at most, newest first; from behind a removal on where one is given."""
