"""What do operators see of a feed's budget? Read from ledgers that the rules of the origin budget wrote."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.failures import Failure, Reason
from shared.domain.priority import Priority
from shared.origin_budget import codec, pause
from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import Moment
from shared.origin_budget.use import BudgetUse, SuspendedBy, of_ledger, to_json
from tests.budgets import FeedBudget
from tests.builders import NOW, a_feed, after

RULES: dict[str, Any] = {
    "concurrency": 10, "batch_size": 10, "batch_pause_seconds": 0.0, "requests_per_second": 20.0,
    "requests_per_hour": 100, "requests_per_day": 1_000, "bytes_per_hour": 50_000, "viewed_reserve": 0.2,
}  # fmt: skip
VIEWED = Priority.VIEWED


def a_budget(**rules: Any) -> FeedBudget:
    """Return the unused budget of a feed with all limits, but for the rules given."""
    return FeedBudget(a_feed(**{**RULES, **rules}))


def remaining(use: BudgetUse) -> dict[str, float]:
    return {window.name: window.remaining for window in use.windows}


def test_a_ledger_that_was_never_written_is_unused() -> None:
    use = a_budget().use(0)
    assert remaining(use) == {"second": 20, "hour": 100, "day": 1_000, "bytes_hour": 50_000}
    assert (use.running, use.slots, use.suspensions) == (0, 10, [])


def test_only_windows_with_a_limit_are_named() -> None:
    assert [window.name for window in of_ledger(a_feed(), Ledger(), NOW).windows] == ["second"]


def test_granted_requests_and_received_bytes_are_used_in_each_window() -> None:
    budget = a_budget()
    budget.end(budget.take(7, 0, VIEWED), 1, received_bytes=1_000)
    budget.take(3, 1, VIEWED)
    use = budget.use(1.1)
    assert remaining(use) == {"second": 20 - 3, "hour": 90, "day": 990, "bytes_hour": 43_000}
    assert use.running == 3
    assert {window.name: window.remaining_for_routine for window in use.windows} == {
        "second": 16 - 3, "hour": 70, "day": 790, "bytes_hour": 33_000,
    }  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 5_000), st.integers(0, 4_000)), max_size=12))
def test_a_request_is_granted_if_and_only_if_some_of_each_window_remains(steps: list[tuple[int, int, int]]) -> None:
    budget = a_budget(requests_per_second=0.0, requests_per_hour=30, requests_per_day=50, concurrency=64)
    now = 0
    for count, received_bytes, seconds in steps:
        budget.end(budget.take(count, now, VIEWED), now, received_bytes=received_bytes)
        now += seconds
    windows = remaining(budget.use(now))
    requests = budget.take(1, now, VIEWED).requests
    is_granted_now = bool(requests) and requests[0].at == after(now)
    assert is_granted_now == (min(windows["hour"], windows["day"], windows["bytes_hour"]) > 0)


def test_an_open_breaker_is_reported_with_its_reason() -> None:
    closed, is_open = Ledger(), Ledger(breaker=Breaker(Reason.FORBIDDEN, 2.0, Moment(1)), reason="10 in a row")
    assert of_ledger(a_feed(), closed, NOW).suspensions == []
    (suspension,) = of_ledger(a_feed(), is_open, NOW).suspensions
    assert suspension.in_words() == "its breaker is open: 10 in a row"


def test_a_throttling_is_reported_until_it_ends() -> None:
    budget = a_budget()
    budget.end(budget.take(1, 0, VIEWED), 0, Failure(Reason.THROTTLED, wait_seconds=60))
    (suspension,) = budget.use(59).suspensions
    assert (suspension.by, suspension.until) == (SuspendedBy.ORIGIN, after(60))
    assert suspension.in_words().startswith("frozen until 2026-11-23 09:01:00 UTC: the origin asks for fewer requests")
    assert budget.use(60).suspensions == []


@pytest.mark.parametrize(("lasting", "until"), [(None, None), (timedelta(hours=2), after(7_200))])
def test_an_operators_pause_is_reported_until_it_ends(lasting: timedelta | None, until: Any) -> None:
    stored = pause.paused(codec.to_document(Ledger()), "by hand", NOW, lasting)
    ledger, resumed = codec.from_document(stored), codec.from_document(pause.resumed(stored))
    use = of_ledger(a_feed(), ledger, after(7_199))
    assert use.is_paused
    (suspension,) = use.suspensions
    assert (suspension.by, suspension.since, suspension.until) == (SuspendedBy.OPERATOR, NOW, until)
    assert suspension.reason == "by hand"
    assert of_ledger(a_feed(), ledger, after(7_200)).is_paused == (lasting is None)
    assert not of_ledger(a_feed(), resumed, NOW).suspensions


def test_the_use_is_published_under_keys_that_never_change() -> None:
    budget = a_budget(requests_per_second=0.0, requests_per_day=0, bytes_per_hour=0)
    budget.end(budget.take(1, 0, VIEWED), 0, Failure(Reason.THROTTLED, wait_seconds=60))
    assert to_json(budget.use(0)) == {
        "at": NOW,
        "windows": [{"name": "hour", "limit": 100, "used": 1, "left": 99, "left_for_routine": 79}],
        "running": 0,
        "slots": 10,
        "silences": [
            {
                "by": "origin",
                "since": None,
                "until": after(60),
                "reason": "the origin asks for fewer requests (429): silent for 60 s",
            }
        ],
    }
