"""The holds: removals of a feed wait until an operator decides, because of a burst of hidden listings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.listing import RemovalReason


class Decision(StrEnum):
    """An operator's decision about a hold: RESUME the removals, or DISCARD the burst as the feed's fault."""

    RESUME = "resume"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalHold:
    """A hold on the removals of one feed for one reason: they wait until an operator has decided about a burst.

    `reason` is why the burst's listings are hidden. The hold is in force while `decision` is None. `at` is when it
    began. `hidden` is how many listings became hidden after `since`. `displayed` is how many listings of the feed were
    still displayed when the hold began.
    """

    feed: str
    reason: RemovalReason
    at: datetime
    """When the hold began."""
    since: datetime
    """The burst is all listings that became hidden after this time."""
    hidden: int
    """How many listings of the burst were hidden when the hold began."""
    displayed: int
    """How many listings of the feed were still displayed when the hold began."""
    by_sweep: bool = False
    """True if a freshness sweep found the burst: its listings are missing at the MLS, and not hidden yet."""
    decision: Decision | None = None
    decided_at: datetime | None = None

    def __str__(self) -> str:
        """Return one line for operators: the feed whose removals wait, and the burst that is the cause."""
        return f"removals of {self.feed} are frozen: {self.burst_text()}"

    def burst_text(self) -> str:
        """Return the burst in words, for operators, without the name of the feed.

        The text says how many of how many listings became hidden, or are missing at the MLS, and since when.
        """
        count = f"{self.hidden:,} of {self.hidden + self.displayed:,} listings"
        if self.by_sweep:
            missing, at = f"{count} as displayed", f"{self.at:%Y-%m-%d %H:%M} UTC"
            return f"its MLS no longer lists {missing}, as a sweep found at {at}"
        hidden, since = f"{count} turned hidden ({self.reason})", f"{self.since:%Y-%m-%d %H:%M} UTC"
        return f"{hidden} within the hour after {since}"


class RemovalHolds(Protocol):
    """Stores the newest hold of each feed and each reason of a removal.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def all(self) -> Sequence[RemovalHold]:
        """Return the newest hold of each feed and reason of a removal, decided or not, sorted by feed and reason.

        A hold without a decision is in force. Raises StoreUnavailable.
        """

    async def begin(self, hold: RemovalHold) -> bool:
        """Store a new hold, unless a hold of the same feed and reason is in force; return True if it was stored.

        The new hold replaces the one before it. If the one before is in force, change nothing and return False. Raises
        StoreUnavailable.
        """

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        """Store an operator's decision, made at `now`, in all holds of a feed that are in force.

        Return the number of these holds; 0 if none is in force. Raises StoreUnavailable.
        """
