"""Holds of removals in memory, for tests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.domain.listing import RemovalReason
from shared.stores.removal_holds import Decision, RemovalHold


class MemoryRemovalHolds:
    """Implements RemovalHolds."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, RemovalReason], RemovalHold] = {}

    async def all(self) -> Sequence[RemovalHold]:
        return [self._last[one] for one in sorted(self._last)]

    async def begin(self, hold: RemovalHold) -> bool:
        last = self._last.get((hold.feed, hold.reason))
        if last is not None and last.decision is None:
            return False
        self._last[hold.feed, hold.reason] = hold
        return True

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        in_force = {one: last for one, last in self._last.items() if one[0] == feed and last.decision is None}
        self._last |= {one: replace(last, decision=decision, decided_at=now) for one, last in in_force.items()}
        return len(in_force)
