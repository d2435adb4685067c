"""The ledgers of origin budgets in memory, for tests."""

import asyncio

from shared.clock import Clock, utc_now
from shared.origin_budget.codec import Document
from shared.stores.ledgers import StoredLedger


class MemoryLedgers:
    """Keeps the ledgers of origin budgets in memory, for tests; implements Ledgers."""

    def __init__(self, clock: Clock = utc_now) -> None:
        """Start without ledgers; `clock` returns the store's own time, which becomes the `now` of each reading."""
        self._clock = clock
        self._stored: dict[str, tuple[Document, int]] = {}

    async def get(self, feed: str) -> StoredLedger:
        document, revision = self._stored.get(feed, ({}, 0))
        stored = StoredLedger(document, revision, self._clock())
        await asyncio.sleep(0)  # lets other tasks write in between, as a server does
        return stored

    async def replace(self, feed: str, document: Document, expected_revision: int) -> bool:
        await asyncio.sleep(0)
        _, revision = self._stored.get(feed, ({}, 0))
        if revision != expected_revision:
            return False
        self._stored[feed] = document, revision + 1
        return True
