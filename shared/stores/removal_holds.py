"""The holds: removals of a feed that wait until an operator decides, because a burst of listings turned hidden."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.listing import RemovalReason


class Decision(StrEnum):
    """An operator's decision about a hold: *resume* the removals, or *discard* the burst as the feed's fault."""

    RESUME = "resume"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalHold:
    """A hold of one feed's removals for one reason. It is in force until it has a decision."""

    feed: str
    reason: RemovalReason
    at: datetime
    """When the hold began."""
    since: datetime
    """The burst is all listings that turned hidden after this time."""
    hidden: int
    """How many listings of the burst were hidden when the hold began."""
    displayed: int
    """How many listings of the feed were still displayed then."""
    by_sweep: bool = False
    """True if a freshness sweep found the burst: its listings are missing at the MLS, and not hidden yet."""
    decision: Decision | None = None
    decided_at: datetime | None = None

    def __str__(self) -> str:
        """Return one line that tells operators why the removals are held."""
        return f"removals of {self.feed} are frozen: {self.burst_text()}"

    def burst_text(self) -> str:
        """Return the burst in words: how many listings turned hidden or are missing at the MLS, and since when."""
        count = f"{self.hidden:,} of {self.hidden + self.displayed:,} listings"
        if self.by_sweep:
            missing, at = f"{count} as displayed", f"{self.at:%Y-%m-%d %H:%M} UTC"
            return f"its MLS no longer lists {missing}, as a sweep found at {at}"
        hidden, since = f"{count} turned hidden ({self.reason})", f"{self.since:%Y-%m-%d %H:%M} UTC"
        return f"{hidden} within the hour after {since}"


class RemovalHolds(Protocol):
    """Stores the last hold of each feed and reason. Each method raises StoreUnavailable."""

    async def all(self) -> Sequence[RemovalHold]:
        """Return the last hold of each feed and reason, sorted by feed. Holds without a decision are in force."""

    async def begin(self, hold: RemovalHold) -> bool:
        """Store a new hold; return True if it was stored.

        Return False, and change nothing, if a hold of the same feed and reason is in force.
        """

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        """Store the decision, made at `now`, in all holds of a feed that are in force; return how many there were."""
