"""The progress and the findings of each audit. Each audit has one document; the newest audit may be unfinished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One daily audit, finished or not."""

    started_at: datetime
    finished_at: datetime | None = None
    """None while the audit is under way."""
    feed: str | None = None
    """The feed whose listings are being compared; None before the first step, after the last, and among buckets."""
    bucket: str | None = None
    """The bucket whose keys are being listed; None while listings are compared, and after the last step."""
    after: str = ""
    """The ListingKey or object key behind which the next page begins."""
    listings: int = 0
    """Listings that were compared."""
    objects: int = 0
    """Objects that were compared or listed."""
    drift: Mapping[str, int]
    """How many objects of each kind of drift were found."""


class Audits(Protocol):
    """Stores audits. Each method raises StoreUnavailable."""

    async def newest(self, limit: int) -> Sequence[Audit]:
        """Return the newest audits, at most `limit`, newest first."""

    async def save(self, audit: Audit) -> None:
        """Store an audit. It replaces the stored audit that has the same `started_at`, if there is one."""
