"""The evidence of removals in memory, for tests."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from shared.stores.removals import Removal, RemovalCursor


class MemoryRemovals:
    """Implements Removals."""

    def __init__(self) -> None:
        self._removals: dict[str, Removal] = {}

    async def add(self, removals: Sequence[Removal]) -> None:
        for removal in removals:
            self._removals.setdefault(removal.id, removal)

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        ours = [one for one in self._removals.values() if (one.feed, one.listing_key) == (feed, listing_key)]
        return sorted(ours, key=lambda one: one.removed_at)

    async def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        ours = [one for one in self._removals.values() if begin <= one.removed_at < end and feed in (None, one.feed)]
        for one in sorted(ours, key=lambda one: one.removed_at):
            yield one

    async def newest(
        self, begin: datetime, end: datetime, feed: str | None, after: RemovalCursor | None, limit: int
    ) -> Sequence[Removal]:
        ours = [one async for one in self.between(begin, end, feed) if not after or (one.removed_at, one.id) < after]
        return sorted(ours, key=lambda one: (one.removed_at, one.id), reverse=True)[:limit]
