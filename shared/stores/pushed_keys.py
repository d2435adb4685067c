"""The keys of records that an MLS has announced by a push. They are stored until the scheduler has read the records."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Resource(StrEnum):
    """A resource of the MLS's API whose pushed keys are stored. Pushes of other resources are ignored."""

    PROPERTY = "Property"
    MEDIA = "Media"


@dataclass(frozen=True, slots=True)
class PushedKey:
    """The key of one record that changed at a feed's MLS: a ListingKey, or in the resource Media a MediaKey."""

    resource: Resource
    key: str


class PushedKeys(Protocol):
    """Stores the pushed keys of feeds, each key once, until their records are read.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def put(self, feed: str, keys: Collection[PushedKey], now: datetime) -> None:
        """Store keys of `feed` as pushed at the time `now`. If a key is stored already, `now` replaces its time."""

    async def oldest(self, feed: str, limit: int) -> Sequence[tuple[PushedKey, datetime]]:
        """Return up to `limit` stored keys of `feed`, each with the time of its last push, the oldest push first."""

    async def remove(self, feed: str, keys: Collection[tuple[PushedKey, datetime]]) -> None:
        """Remove keys of `feed` whose records were read. `keys` has pairs of a key and the time of its push.

        A key that was pushed again after that time is not removed.
        """
