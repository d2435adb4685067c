"""What is kept beside the listings: the history of attempts, the evidence of removals, and who runs the loops."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to get a copy; `result` is `downloaded`, `unchanged` or the reason of the failure."""

    image_id: str
    feed: str
    listing_key: str
    at: datetime
    result: str
    detail: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many attempts ended with a result within the minute that began at `minute`."""

    minute: datetime
    result: str
    count: int


class Attempts(Protocol):
    """The history of attempts; it expires by itself."""

    async def add(self, attempts: Sequence[Attempt]) -> None:
        """Append."""

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of the images, newest first."""

    async def latest(self, limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of all, newest first."""

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[Tally]:
        """Count attempts by minute and result, from `since` to before `until`; in no order."""


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


Behind = tuple[datetime, str]
"""A removal's time and id: where a page of them goes on. Many have the same time."""


class Removals(Protocol):
    """The evidence: one line for each image removed."""

    async def add(self, removals: Sequence[Removal]) -> None:
        """Record; the same removal again changes nothing."""

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        """Return the evidence of a listing, oldest first."""

    def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        """Yield the evidence of a period, its end excluded, oldest first; of one feed or of all."""

    async def newest(
        self, begin: datetime, end: datetime, feed: str | None, after: Behind | None, most: int
    ) -> Sequence[Removal]:
        """Return so much of the same at most, newest first; from behind a removal on where one is given."""


class Leases(Protocol):
    """Who runs a loop that only one may run."""

    async def hold(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """Take or keep the lease; False while another holds it."""

    async def release(self, name: str, holder: str) -> None:
        """Give the lease back."""

    async def holders(self, now: datetime) -> Mapping[str, str]:
        """Return who holds each lease that has not ended."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a dead letter stands; its time tells it from one of an earlier topic at the same offset."""

    partition: int
    offset: int
    at: datetime


class HandledDeadLetters(Protocol):
    """Which dead letters an operator has dealt with: Kafka cannot take a single record off a topic."""

    async def add(self, places: Sequence[Place], how: str) -> None:
        """Mark dead letters as handled; `how` is `requeued` or `dropped`. The same again changes nothing."""

    async def since(self, oldest: datetime) -> Collection[Place]:
        """Return the marks of dead letters that are as new as that; older ones have left their topic."""
