"""The evidence of removals in memory, for tests."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from shared.stores.removals import Removal, RemovalCursor


class MemoryRemovals:
    """Keeps the evidence of removals in memory, for tests; implements Removals."""

    def __init__(self) -> None:
        self._removals: dict[str, Removal] = {}

    async def add(self, removals: Sequence[Removal]) -> None:
        for removal in removals:
            self._removals.setdefault(removal.id, removal)

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        return [
            removal for removal in self._oldest_first() if (removal.feed, removal.listing_key) == (feed, listing_key)
        ]

    async def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        for removal in self._oldest_first():
            if begin <= removal.removed_at < end and feed in (None, removal.feed):
                yield removal

    async def newest(
        self, begin: datetime, end: datetime, feed: str | None, after: RemovalCursor | None, limit: int
    ) -> Sequence[Removal]:
        found = [removal async for removal in self.between(begin, end, feed)]
        return [removal for removal in reversed(found) if not after or _cursor(removal) < after][:limit]

    def _oldest_first(self) -> list[Removal]:
        return sorted(self._removals.values(), key=_cursor)


def _cursor(removal: Removal) -> RemovalCursor:
    return removal.removed_at, removal.id
