"""The history of attempts to get copies, for operators. An attempt is deleted after 90 days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One finished attempt to get a copy of a photo, as the history of attempts keeps it.

    `at` is when the attempt ended. `result` is `downloaded`, `unchanged`, or the reason of the failure. `detail` is a
    text for operators, `milliseconds` how long the attempt took.
    """

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
    """The number of attempts that ended with `result` in the minute that began at `minute`.

    `result` is `downloaded`, `unchanged`, or the reason of a failure.
    """

    minute: datetime
    result: str
    count: int


class Attempts(Protocol):
    """Stores the history of attempts of all feeds.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def add(self, attempts: Sequence[Attempt]) -> None:
        """Add finished attempts to the history. Raises StoreUnavailable."""

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        """Return the last attempts to get any of the photos with these ids, the newest first.

        At most `limit` attempts are returned, not `limit` for each photo. Raises StoreUnavailable.
        """

    async def latest(self, limit: int) -> Sequence[Attempt]:
        """Return the last `limit` attempts of all photos of all feeds, the newest first. Raises StoreUnavailable."""

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[AttemptCount]:
        """Count the attempts of all feeds that ended from `since` to before `until`, by minute and result.

        The counts are in no particular order. If no attempt of a minute had a result, there is no count of that minute
        and result. Raises StoreUnavailable.
        """
