"""The budgets: one ledger a feed, shared by all workers. Every write is conditional on the revision that was read."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.clock import Clock, utc_now


@dataclass(frozen=True, slots=True)
class Stored:
    """A feed's ledger, its revision (0 before the first write), and the store's own time when it was read."""

    document: Mapping[str, object]
    revision: int
    now: datetime


class Budgets(Protocol):
    """The collection of ledgers."""

    async def get(self, feed: str) -> Stored:
        """Return the feed's ledger, an empty one before the first write."""

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        """Write the ledger if its revision is still the expected one; False where another was faster."""


class MemoryBudgets:
    """The ledgers in a dictionary."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._ledgers: dict[str, tuple[Mapping[str, object], int]] = {}

    async def get(self, feed: str) -> Stored:
        """Return the feed's ledger, an empty one before the first write."""
        document, revision = self._ledgers.get(feed, ({}, 0))
        stored = Stored(document, revision, self._clock())
        await asyncio.sleep(0)  # as with a server, others come in between
        return stored

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        """Write the ledger if its revision is still the expected one; False where another was faster."""
        await asyncio.sleep(0)
        _, revision = self._ledgers.get(feed, ({}, 0))
        if revision != expected_revision:
            return False
        self._ledgers[feed] = document, revision + 1
        return True
