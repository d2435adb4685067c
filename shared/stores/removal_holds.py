"""Which feeds' removals wait for an operator, because so many listings turned hidden at once? One record a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.listing import RemovalReason


class Decision(StrEnum):
    """What an operator says of a burst: the removals are right, or the feed was wrong."""

    RESUME = "resume"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalHold:
    """The removals of one feed for one reason do not go on. With a decision it is over, and kept as the last one."""

    feed: str
    reason: RemovalReason
    at: datetime
    since: datetime
    """The burst is what turned hidden from here on."""
    hidden: int
    """How many listings had turned hidden when it began."""
    displayed: int
    """How many were still displayed."""
    by_sweep: bool = False
    """Whether a sweep found it: these listings are missing on the market, and about to be hidden."""
    decision: Decision | None = None
    decided_at: datetime | None = None

    def __str__(self) -> str:
        """Say in one line what happened, for an operator."""
        count = f"{self.hidden:,} of {self.hidden + self.displayed:,} listings"
        if self.by_sweep:
            missing, at = f"{count} as displayed", f"{self.at:%Y-%m-%d %H:%M} UTC"
            return f"removals of {self.feed} are frozen: its MLS no longer lists {missing}, as a sweep found at {at}"
        hidden, since = f"{count} turned hidden ({self.reason})", f"{self.since:%Y-%m-%d %H:%M} UTC"
        return f"removals of {self.feed} are frozen: {hidden} within the hour after {since}"


class RemovalHolds(Protocol):
    """The last freeze of each feed and reason."""

    async def all(self) -> Sequence[RemovalHold]:
        """Return the last freeze of each feed and reason, by feed; those without a decision are in force."""

    async def begin(self, hold: RemovalHold) -> bool:
        """Record a freeze; False where one of the same feed and reason is in force already."""

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        """Decide about a feed's freezes in force; return how many there were."""
