"""A cache of ledgers: for each feed the newest ledger that this process read or wrote."""

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
"""A ledger that was read longer ago is read again before a request is sent: the feed may be suspended by now."""
_MAX_READINGS = 3
_UNKNOWN = -1
"""A revision lower than that of any stored ledger."""


@dataclass(slots=True)
class _Cached:
    stored: StoredLedger = field(default_factory=lambda: StoredLedger({}, _UNKNOWN, datetime.min.replace(tzinfo=UTC)))
    read_at: float = float("-inf")
    """When the latest reading began, in seconds of the monotonic clock."""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def keep(self, stored: StoredLedger) -> None:
        """Keep this ledger in memory, unless the one in memory is newer.

        Readings and writes may end in another order than they began.
        """
        if stored.revision >= self.stored.revision:
            self.stored = stored


class LedgerCache:
    """The stored ledgers, with the newest ledger of each feed kept in memory. Each reading also corrects `clock`."""

    def __init__(self, ledgers: Ledgers, clock: SharedClock, monotonic: Callable[[], float]) -> None:
        self._ledgers = ledgers
        self._clock = clock
        self._monotonic = monotonic
        self._cached: dict[str, _Cached] = {}

    async def get(self, feed: str) -> StoredLedger:
        """Read the feed's ledger from the store; return the newest ledger that this process has of the feed.

        It may be newer than the one just read, if a concurrent call has read or written the ledger. Raises
        StoreUnavailable if the store does not answer, or answers three readings too slowly for the shared clock to know
        the store's time.
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
        """Write the feed's ledger to the store if its revision there is still `expected_revision`.

        Return True if the ledger was written; it is then kept in memory. If it was not written, the next reading is
        kept whatever its revision is, because an operator may have restored an older ledger. Raises StoreUnavailable.
        """
        cached = self._of(feed)
        is_written = await self._ledgers.replace(feed, document, expected_revision)
        if is_written:
            cached.keep(StoredLedger(document, expected_revision + 1, self._clock.now()))
        else:
            cached.stored = replace(cached.stored, revision=_UNKNOWN)
        return is_written

    async def refresh(self, feed: str) -> None:
        """Read the feed's ledger from the store and keep it in memory, unless the last reading began at most 0.1 s ago.

        Concurrent calls share one reading. Raises StoreUnavailable.
        """
        cached = self._of(feed)
        async with cached.reading:
            if self._monotonic() - cached.read_at > _KNOWN_WITHIN_SECONDS:
                await self.get(feed)

    def newest(self, feed: str) -> Ledger:
        """Return the newest ledger of the feed that this process has in memory; the store is not asked.

        If the feed's ledger was not read yet, return an unused ledger.
        """
        return self._of(feed).stored.ledger

    def _of(self, feed: str) -> _Cached:
        return self._cached.setdefault(feed, _Cached())
