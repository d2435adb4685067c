"""Holds of removals in memory, for tests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.domain.listing import RemovalReason
from shared.stores.removal_holds import Decision, RemovalHold


class MemoryRemovalHolds:
    """Keeps the holds of removals in memory, for tests; implements RemovalHolds."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, RemovalReason], RemovalHold] = {}

    async def all(self) -> Sequence[RemovalHold]:
        return [self._last[key] for key in sorted(self._last)]

    async def begin(self, hold: RemovalHold) -> bool:
        last = self._last.get((hold.feed, hold.reason))
        if last is not None and last.decision is None:
            return False
        self._last[hold.feed, hold.reason] = hold
        return True

    async def decide(self, feed: str, decision: Decision, now: datetime) -> int:
        in_force = {key: hold for key, hold in self._last.items() if key[0] == feed and hold.decision is None}
        self._last |= {key: replace(hold, decision=decision, decided_at=now) for key, hold in in_force.items()}
        return len(in_force)
