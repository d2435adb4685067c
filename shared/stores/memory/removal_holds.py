"""Holds of removals in memory, for tests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.domain.listing import RemovalReason
from shared.stores.removal_holds import Decision, RemovalHold


class MemoryRemovalHolds:
    """The freezes in a dictionary."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, RemovalReason], RemovalHold] = {}

    async def all(self) -> Sequence[RemovalHold]:
        """Return the last freeze of each feed and reason, by feed."""
        return [self._last[one] for one in sorted(self._last)]

    async def begin(self, hold: RemovalHold) -> bool:
        """Record a freeze; False where one of the same feed and reason is in force already."""
        last = self._last.get((hold.feed, hold.reason))
        if last is not None and last.decision is None:
            return False
        self._last[hold.feed, hold.reason] = hold
        return True

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        """Decide about a feed's freezes in force; return how many there were."""
        in_force = {one: last for one, last in self._last.items() if one[0] == feed and last.decision is None}
        self._last |= {one: replace(last, decision=decision, decided_at=now) for one, last in in_force.items()}
        return len(in_force)
