"""The progress and the results of each audit. Each audit has one document; the newest audit may be unfinished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The progress and the results of one audit, finished or not.

    `finished_at` is None while the audit is under way. `feed`, `bucket` and `after` say where its next step begins.
    `listings` and `objects` count what was compared so far. `drift` has the number of objects of each kind of drift, by
    the kind's name.
    """

    started_at: datetime
    finished_at: datetime | None = None
    """None while the audit is under way."""
    feed: str | None = None
    """The feed whose listings are being compared; None before the first step, and once the listings are compared."""
    bucket: str | None = None
    """The bucket whose keys are being listed; None while listings are compared, and after the last step."""
    after: str = ""
    """The ListingKey or object key after which the next page begins; "" at the start of a feed or bucket."""
    listings: int = 0
    """Listings that were compared."""
    objects: int = 0
    """Objects that were compared or listed."""
    drift: Mapping[str, int]
    """How many objects of each kind of drift were found, by the kind's name."""


class Audits(Protocol):
    """Stores the progress and the results of each audit.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def newest(self, limit: int) -> Sequence[Audit]:
        """Return the last `limit` audits, sorted by when they began, the newest first. Raises StoreUnavailable.

        The newest audit may be unfinished.
        """

    async def save(self, audit: Audit) -> None:
        """Store an audit. If an audit with the same `started_at` is stored, it is replaced.

        Raises StoreUnavailable.
        """
