"""The pushed keys in memory, for tests."""

from collections.abc import Collection, Sequence
from datetime import datetime

from shared.stores.pushed_keys import PushedKey


class MemoryPushedKeys:
    """Keeps pushed keys in memory, for tests; implements PushedKeys."""

    def __init__(self) -> None:
        self._pushed: dict[tuple[str, PushedKey], datetime] = {}

    async def put(self, feed: str, keys: Collection[PushedKey], now: datetime) -> None:
        self._pushed |= {(feed, key): now for key in keys}

    async def oldest(self, feed: str, limit: int) -> Sequence[tuple[PushedKey, datetime]]:
        found = [(key, at) for (owner, key), at in self._pushed.items() if owner == feed]
        return sorted(found, key=lambda pushed: pushed[1])[:limit]

    async def remove(self, feed: str, keys: Collection[tuple[PushedKey, datetime]]) -> None:
        for key, at in keys:
            if self._pushed.get((feed, key)) == at:
                del self._pushed[feed, key]
