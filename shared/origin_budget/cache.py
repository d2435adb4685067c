"""What does this process know of the ledgers? The newest that it read or wrote of each feed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from shared.origin_budget.clock import SharedClock
from shared.origin_budget.codec import Document
from shared.origin_budget.ledger import Ledger
from shared.stores.errors import StoreUnavailable
from shared.stores.ledgers import Ledgers, StoredLedger

_KNOWN_WITHIN_SECONDS = 0.1
"""How old the knowledge of a suspension that another worker wrote may be when a request goes out."""
_MAX_READINGS = 3
_UNKNOWN = -1
"""A revision that any stored ledger is newer than."""


@dataclass(slots=True)
class _Cached:
    stored: StoredLedger = field(default_factory=lambda: StoredLedger({}, _UNKNOWN, datetime.min.replace(tzinfo=UTC)))
    read_at: float = float("-inf")
    """When the latest reading began, by the monotonic clock."""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def keep(self, stored: StoredLedger) -> None:
        """Keep a ledger unless a newer one is known: readings and writes may end in another order than they began."""
        if stored.revision >= self.stored.revision:
            self.stored = stored


class LedgerCache:
    """A `Ledgers` that remembers. Each reading teaches the shared clock the store's time."""

    def __init__(self, ledgers: Ledgers, clock: SharedClock, monotonic: Callable[[], float]) -> None:
        self._ledgers = ledgers
        self._clock = clock
        self._monotonic = monotonic
        self._cached: dict[str, _Cached] = {}

    async def get(self, feed: str) -> StoredLedger:
        """Read the feed's ledger; return the newest that is known. Raises StoreUnavailable.

        It is raised, too, if the store answers so slowly that the shared clock cannot tell its time.
        """
        cached = self._of(feed)
        for _ in range(_MAX_READINGS):
            before = self._monotonic()
            stored = await self._ledgers.get(feed)
            self._clock.learn(before, self._monotonic(), stored.now)
            cached.keep(stored)
            cached.read_at = before
            if self._clock.is_known:
                return cached.stored
        raise StoreUnavailable("the store answers too slowly to tell the time by it, and requests are planned by that")

    async def replace(self, feed: str, document: Document, expected_revision: int) -> bool:
        """Write the feed's ledger if its revision is still the expected one. Raises StoreUnavailable.

        Return True if it was written. A refused write forgets the revision: whatever is stored now counts, even if it
        was put back by hand.
        """
        cached = self._of(feed)
        is_written = await self._ledgers.replace(feed, document, expected_revision)
        if is_written:
            cached.keep(StoredLedger(document, expected_revision + 1, self._clock.now()))
        else:
            cached.stored = replace(cached.stored, revision=_UNKNOWN)
        return is_written

    async def refresh(self, feed: str) -> None:
        """Read the feed's ledger unless it was read just now. Raises StoreUnavailable.

        One reading serves all who ask at the same time.
        """
        cached = self._of(feed)
        async with cached.reading:
            if self._monotonic() - cached.read_at > _KNOWN_WITHIN_SECONDS:
                await self.get(feed)

    def newest(self, feed: str) -> Ledger:
        """Return the newest ledger of the feed that is known, an unused one before the first reading."""
        return self._of(feed).stored.ledger

    def _of(self, feed: str) -> _Cached:
        return self._cached.setdefault(feed, _Cached())
