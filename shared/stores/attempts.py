"""The history of attempts to get copies, for operators. Entries expire after some days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to get a copy of an image."""

    image_id: str
    feed: str
    listing_key: str
    at: datetime
    """When the attempt ended."""
    result: str
    """`downloaded`, `unchanged`, or the reason of the failure."""
    detail: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class AttemptCount:
    """How many attempts ended with `result` within the minute that began at `minute`."""

    minute: datetime
    result: str
    count: int


class Attempts(Protocol):
    """Stores attempts. Each method raises StoreUnavailable."""

    async def add(self, attempts: Sequence[Attempt]) -> None:
        """Append attempts to the history."""

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of these images, newest first, at most `limit` of all images together."""

    async def latest(self, limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of all images, newest first, at most `limit`."""

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[AttemptCount]:
        """Count attempts by minute and result, from `since` to before `until`, in no particular order."""
