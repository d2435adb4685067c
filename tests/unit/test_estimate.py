"""The least time that downloads take, by a feed's limits and how much of them is used."""

from typing import Any

import pytest

from ops import estimate
from shared.domain.priority import Priority
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.use import of_ledger
from tests.budgets import UNPACED, FeedBudget
from tests.builders import NOW, a_feed


@pytest.mark.parametrize(
    ("rules", "downloads", "received_bytes", "seconds"),
    [
        ({}, 0, 0, 0.0),
        ({"requests_per_second": 10.0}, 800, None, 100.0),
        ({"batch_size": 8, "batch_pause_seconds": 4.0}, 800, None, 400.0),
        ({"requests_per_hour": 100}, 80, None, 5.0),
        ({"requests_per_hour": 100}, 81, None, 3_600.0),
        ({"requests_per_hour": 100, "requests_per_day": 1_000}, 1_700, None, 2 * 86_400.0),
        ({"bytes_per_hour": 1_000}, 1, 1_601, 2 * 3_600.0),
    ],
)
def test_the_tightest_limit_decides_how_long_downloads_take(
    rules: dict[str, Any], downloads: int, received_bytes: int | None, seconds: float
) -> None:
    feed = a_feed(**{"requests_per_second": 20.0, "batch_pause_seconds": 0.0, **rules})
    use = of_ledger(feed, Ledger(), NOW)
    assert estimate.seconds_for(downloads, received_bytes, feed, use) == pytest.approx(seconds)


def test_downloads_take_longer_if_some_of_a_window_is_used() -> None:
    budget = FeedBudget(a_feed(**UNPACED, requests_per_hour=10))
    assert estimate.seconds_for(8, None, budget.feed, budget.use(0)) == 0.0
    budget.end(budget.take(1, 0, Priority.VIEWED), 0)
    assert estimate.seconds_for(8, None, budget.feed, budget.use(0)) == 3_600.0
