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
    """A feed's ledger as it was read."""

    document: Document
    """The stored document, with keys that this program may not know; empty before the first write."""
    revision: int
    """How many times the ledger was written."""
    now: datetime
    """The store's own time when the ledger was read."""

    @cached_property
    def ledger(self) -> Ledger:
        """The document as a Ledger."""
        return codec.from_document(self.document)


class Ledgers(Protocol):
    """Stores the ledger of each feed."""

    async def get(self, feed: str) -> StoredLedger:
        """Return the feed's ledger; before the first write, an empty document with revision 0.

        Raises StoreUnavailable.
        """

    async def replace(self, feed: str, document: Document, expected_revision: int) -> bool:
        """Write the feed's ledger if its revision is still the expected one. Raises StoreUnavailable.

        Return True if it was written, False if another writer was faster.
        """


async def update(
    ledgers: Ledgers,
    feed: str,
    rule: Callable[[StoredLedger], tuple[Document | None, T]],
    chance: Callable[[], float] = random.random,
) -> T:
    """Apply a rule to the feed's ledger, write the document that the rule returns, and return the rule's result.

    The rule takes the ledger as it was read. It returns the document to write, or None to write nothing, and its
    result. If the write is refused, the rule is called again with a new reading, after a pause; `chance` returns a
    number from 0 to 1, the share of the longest pause that is taken. Raises StoreUnavailable, and Contention if the
    write is refused MAX_ATTEMPTS times.
    """
    for attempt in range(MAX_ATTEMPTS):
        stored = await ledgers.get(feed)
        document, result = rule(stored)
        if document is None or await ledgers.replace(feed, document, stored.revision):
            return result
        await updates.back_off(attempt, chance)
    raise Contention(f"others changed the budget of feed {feed} before each of {MAX_ATTEMPTS} attempts to write")
