"""The keys of records that an MLS has announced by a push, until the scheduler has read these records."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Resource(StrEnum):
    """The resources of the MLS's API whose pushed keys are recorded; events of other resources are ignored."""

    PROPERTY = "Property"
    MEDIA = "Media"


@dataclass(frozen=True, slots=True)
class PushedKey:
    """The key of one record that changed at the MLS of a feed: a ListingKey, or the MediaKey of a photo."""

    resource: Resource
    key: str


class PushedKeys(Protocol):
    """Stores the pushed keys of feeds, each once, until their records are read.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def put(self, feed: str, keys: Collection[PushedKey], now: datetime) -> None:
        """Store keys of `feed` as pushed at the time `now`; a key that is stored already gets the new time."""

    async def oldest(self, feed: str, limit: int) -> Sequence[tuple[PushedKey, datetime]]:
        """Return up to `limit` stored keys of `feed` with the times of their pushes, the oldest push first."""

    async def remove(self, feed: str, keys: Collection[tuple[PushedKey, datetime]]) -> None:
        """Remove keys of `feed`, each only if it was not pushed again after the time that stands beside it."""
