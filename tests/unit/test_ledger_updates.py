"""How a ledger is changed that others write too: read, decide, write if unchanged, decide again."""

import pytest

from shared.origin_budget.codec import Document
from shared.stores import ledgers
from shared.stores.errors import Contention
from shared.stores.ledgers import MAX_ATTEMPTS, StoredLedger
from shared.stores.memory import MemoryLedgers
from tests.simulated import run_simulated

FEED = "feed"


class ContendedLedgers(MemoryLedgers):
    """Ledgers in memory of which another writer writes one before each of the first `refusals` writes."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals
        self.readings = 0

    async def get(self, feed: str) -> StoredLedger:
        self.readings += 1
        return await super().get(feed)

    async def replace(self, feed: str, document: Document, expected_revision: int) -> bool:
        if self.refusals:
            self.refusals -= 1
            await super().replace(feed, {"batch": self.refusals}, expected_revision)
        return await super().replace(feed, document, expected_revision)


def one_more(stored: StoredLedger) -> tuple[Document, int]:
    batch = stored.ledger.batch_requests + 1
    return {"batch": batch}, batch


def test_a_refused_update_is_decided_again_from_what_the_other_wrote() -> None:
    store = ContendedLedgers(refusals=2)
    assert run_simulated(ledgers.update(store, FEED, one_more)) == 1
    assert run_simulated(store.get(FEED)).document == {"batch": 1}
    assert store.readings == 4


def test_a_rule_that_writes_nothing_leaves_the_ledger_alone() -> None:
    store = MemoryLedgers()
    assert run_simulated(ledgers.update(store, FEED, lambda stored: (None, stored.revision))) == 0
    assert run_simulated(store.get(FEED)).revision == 0


def test_an_update_that_is_always_refused_ends_with_contention() -> None:
    store = ContendedLedgers(refusals=MAX_ATTEMPTS)
    with pytest.raises(Contention, match="the budget of feed feed before each of 60 attempts"):
        run_simulated(ledgers.update(store, FEED, one_more))
    assert store.readings == MAX_ATTEMPTS
