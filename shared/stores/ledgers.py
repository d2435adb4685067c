"""The ledgers of origin budgets: one document for each feed, shared by all workers.

A write names the revision that was read, and is refused if another writer was faster.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol, TypeVar

from shared.origin_budget import codec
from shared.origin_budget.codec import Document
from shared.origin_budget.ledger import Ledger
from shared.stores import updates
from shared.stores.errors import Contention

T = TypeVar("T")

MAX_ATTEMPTS = 60
"""More than for listings: all workers of a feed write the same ledger, and are refused more often."""


@dataclass(frozen=True)
class StoredLedger:
    """The ledger of one feed as it was read from the store.

    `document` is the stored document, empty before the first write. `revision` is how many times it was written. `now`
    is the store's own time when it was read.
    """

    document: Document
    """The stored document, with keys that this program may not know; empty before the first write."""
    revision: int
    """How many times the ledger was written."""
    now: datetime
    """The store's own time when the ledger was read."""

    @cached_property
    def ledger(self) -> Ledger:
        """The stored document as a Ledger, decoded at the first access."""
        return codec.from_document(self.document)


class Ledgers(Protocol):
    """Stores the ledger of each feed, which all workers share.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def get(self, feed: str) -> StoredLedger:
        """Return the stored ledger of `feed`, with its revision and the store's own time.

        Before the first write, return an empty document with revision 0. Raises StoreUnavailable.
        """

    async def replace(self, feed: str, document: Document, expected_revision: int) -> bool:
        """Write `document` as the ledger of `feed` and raise its revision by one; return True if it was written.

        If the stored revision is not `expected_revision`, because another worker has written, change nothing and return
        False. Raises StoreUnavailable.
        """


async def update(
    ledgers: Ledgers,
    feed: str,
    rule: Callable[[StoredLedger], tuple[Document | None, T]],
    chance: Callable[[], float] = random.random,
) -> T:
    """Change the ledger of `feed` as `rule` decides, and return the result that `rule` returns.

    `rule` gets the ledger as it was read, and returns a pair: the document to write, or None to write nothing, and the
    result. If another worker has written the ledger since it was read, it is read again after a random pause, and
    `rule` is called again. `chance` returns the length of the pause as a share, from 0 to 1, of the longest pause.
    Raises StoreUnavailable if the database does not answer, and Contention if the write is refused MAX_ATTEMPTS times.
    """
    for attempt in range(MAX_ATTEMPTS):
        stored = await ledgers.get(feed)
        document, result = rule(stored)
        if document is None or await ledgers.replace(feed, document, stored.revision):
            return result
        await updates.back_off(attempt, chance)
    raise Contention(f"others changed the budget of feed {feed} before each of {MAX_ATTEMPTS} attempts to write")
