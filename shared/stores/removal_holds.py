"""The holds: removals of a feed that wait until an operator decides, because a burst of listings turned hidden."""

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

    The hold is in force while `decision` is None. `at` is when it began. `hidden` is how many listings turned hidden
    after `since`, `displayed` how many of the feed were still displayed when the hold began.
    """

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
        """Return one line for operators: the feed whose removals are held, and the burst that is the cause."""
        return f"removals of {self.feed} are frozen: {self.burst_text()}"

    def burst_text(self) -> str:
        """Return the burst in words, for operators, without the name of the feed.

        The text says how many of how many listings turned hidden, or are missing at the MLS, and since when.
        """
        count = f"{self.hidden:,} of {self.hidden + self.displayed:,} listings"
        if self.by_sweep:
            missing, at = f"{count} as displayed", f"{self.at:%Y-%m-%d %H:%M} UTC"
            return f"its MLS no longer lists {missing}, as a sweep found at {at}"
        hidden, since = f"{count} turned hidden ({self.reason})", f"{self.since:%Y-%m-%d %H:%M} UTC"
        return f"{hidden} within the hour after {since}"


class RemovalHolds(Protocol):
    """Stores the last hold of each feed and reason.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def all(self) -> Sequence[RemovalHold]:
        """Return the last hold of each feed and reason, decided or not, sorted by feed and reason.

        A hold without a decision is in force. Raises StoreUnavailable.
        """

    async def begin(self, hold: RemovalHold) -> bool:
        """Store a new hold in place of the last one of the same feed and reason; return True if it was stored.

        If the last one is still in force, change nothing and return False. Raises StoreUnavailable.
        """

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        """Store an operator's decision, made at `now`, in all holds of a feed that are in force.

        Return how many holds these were; 0 if none is in force. Raises StoreUnavailable.
        """
