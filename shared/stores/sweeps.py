"""How far is the freshness sweep of each feed? One record a feed: what was read and what is owed.

The scheduler writes what it did, conditionally; an operator only leaves a wish, which no such write touches.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """An operator wants a sweep now; a dry run says what it would do."""

    at: datetime
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a sweep has found and done so far.

    `compared` listings of the MLS or copies that were looked at; `asked_for` those that are news or missing at the MLS,
    of which `left` are still to be read; `published` events, or copies made due; `gone` from the MLS for good.
    """

    compared: int = 0
    asked_for: int = 0
    missing: int = 0
    left: int = 0
    published: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A feed's sweeps; `revision` 0 has never been written."""

    feed: str
    revision: int = 0
    wish: SweepRequest | None = None
    answered: datetime | None = None
    """Which wish was last seen through, by its time."""
    swept: datetime | None = None
    """The scheduled start of the last daily sweep that was finished."""
    finished_at: datetime | None = None
    followed_at: datetime | None = None
    reached: Mapping[str, datetime] = field(default_factory=dict)
    """Up to when every change is published, in the MLS's time, by the name of the timestamp."""
    found: Found = field(default_factory=Found)
    error: str = ""
    failures: int = 0
    """In a row."""
    try_again_at: datetime | None = None
    """The MLS is left alone until then."""
    compare_again_at: datetime | None = None
    """Its market could not be believed, and is not read whole again until then; changes are followed."""

    @property
    def open_wish(self) -> SweepRequest | None:
        """The wish that is still to be answered."""
        return self.wish if self.wish and self.wish.at != self.answered else None


class Sweeps(Protocol):
    """The collection of sweeps."""

    async def get(self, feed: str) -> Sweep:
        """Return the feed's sweeps, an empty record before the first write."""

    async def write(self, sweep: Sweep) -> bool:
        """Write all but the wish if the revision is still the recorded one; False where another was faster."""

    async def ask(self, feed: str, wish: SweepRequest) -> None:
        """Leave a wish in place of any before it."""
