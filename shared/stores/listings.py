"""The listings: the truth of the system. Every write is conditional on the revision that was read."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.image import Status
from shared.domain.listing import Listing, Recorded, RemovalReason
from shared.domain.priority import Priority
from shared.stores.documents import ListingId
from shared.stores.summaries import ListingSummary, Wanted


@dataclass(frozen=True, slots=True)
class FeedCounts:
    """How a feed stands: its listings, its images by status, its queue by priority, and what is most overdue."""

    listings: int
    displayed: int
    images: Mapping[Status, int]
    queued: Mapping[str, int]
    in_work: int
    oldest_due_at: datetime | None


class Listings(Protocol):
    """The collection of listings."""

    async def get(self, feed: str, listing_key: str) -> Listing | None:
        """Return one listing, or None."""

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        """Return those of the listings that are recorded, in one round trip."""

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        """Write each listing unless another revision is recorded by now; return the ids of those that were refused."""

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        """Return a feed's listings by key, those after the key given; "" begins."""

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return listings with due photos, most urgent first, the longest due first among equals."""

    async def oldest_due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        """Return listings with due photos by age alone."""

    async def in_work(self, feed: str, now: datetime) -> int:
        """Return how many photos are released and unfinished, of listings whose lease has not ended."""

    async def ahead_of(self, feed: str, priority: Priority, due_at: datetime, now: datetime) -> int:
        """Return how many photos have their turn before one that is due then: the more urgent, and the longer due."""

    async def recorded(self, ids: Collection[ListingId]) -> Mapping[ListingId, Recorded]:
        """Return what was last said of those of the listings that are recorded, in one round trip."""

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        """Return the keys of a feed's displayed listings in their order, those after the key given; "" begins."""

    async def recheck_due(self, feed: str, before: datetime, limit: int) -> Sequence[Listing]:
        """Return listings with copies that were last asked for before that time, the longest ago first."""

    async def recheck_count(self, feed: str, before: datetime) -> int:
        """Return of how many listings there are copies that were last asked for before that time."""

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        """Return listings of which something must be removed, the longest due first."""

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        """Return how many displayed listings turned hidden after `since`, up to `until`, and still are."""

    async def feeds(self) -> Sequence[str]:
        """Return the names of the feeds that listings are recorded of, in order."""

    async def displayed(self, feed: str) -> int:
        """Return how many of a feed's listings are displayed."""

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        """Return hidden listings whose copies are held until an operator decides."""

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        """Return listings of which the worker has photos in hand."""

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        """Return the listings with this key, of every feed."""

    async def by_image(self, image_id: str) -> Listing | None:
        """Return the listing that shows the image."""

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        """Return the listings with a photo announced under this URL."""

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        """Count a feed's listings, images and queue."""

    async def search(self, wanted: Wanted, after: str, limit: int) -> Sequence[ListingSummary]:
        """Return listings by key, those after the key given; "" begins."""

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[ListingSummary]:
        """Return listings with due photos in the order of `due`, or by age alone."""

    async def coming(self, feed: str, now: datetime, limit: int) -> Sequence[ListingSummary]:
        """Return listings whose next attempt is yet to come, or being made, soonest first."""
