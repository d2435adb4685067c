"""How ledgers are stored. Golden files of ledgers in all states are compared in test_stored_documents.py."""

import pytest
from bson import BSON

from shared.origin_budget import codec
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.moments import Moment
from tests.budgets import FeedBudget
from tests.builders import a_feed


@pytest.mark.slow
def test_a_ledger_stays_small_at_forty_thousand_requests_a_day() -> None:
    budget = FeedBudget(a_feed(requests_per_hour=7_200, requests_per_day=40_000, bytes_per_hour=4_000_000_000))
    day = [(86_400 * number / 5_000, 8) for number in range(6_000)]
    for seconds, count in day:
        budget.end(budget.take(count, seconds), seconds + 1, received_bytes=250_000)
    assert sum(amount for _, amount in budget.ledger.day_requests) > 30_000
    assert len(BSON.encode(codec.to_document(budget.ledger))) < 8_000


def test_an_empty_document_is_an_unused_ledger_and_unknown_keys_are_left_out() -> None:
    assert codec.from_document({}) == Ledger()
    assert codec.from_document({"seen": 7, "of_a_later_program": 1}) == Ledger(as_of=Moment(7))
