"""How far has the audit come, and what did it find? One record an audit; the newest may be under way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One audit: where it is, unless it is finished, and what it found so far, by kind of drift."""

    started_at: datetime
    finished_at: datetime | None = None
    feed: str | None = None
    bucket: str | None = None
    after: str = ""
    listings: int = 0
    objects: int = 0
    drift: Mapping[str, int]


class Audits(Protocol):
    """The audits, under way and finished."""

    async def newest(self, limit: int) -> Sequence[Audit]:
        """Return the newest audits, newest first."""

    async def save(self, audit: Audit) -> None:
        """Write an audit as it now stands."""
