"""What operators are told of a budget, from ledgers that the downloader's own rules wrote."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import estimate
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget import codec, grants, pause
from shared.origin_budget.accounting import EndedDownload, with_ended
from shared.origin_budget.grants import Demand, Grant
from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import Moment
from shared.origin_budget.use import BudgetUse, of_ledger, to_json
from tests.builders import NOW, a_feed, after

RULES: dict[str, Any] = {
    "concurrency": 10, "batch_size": 10, "batch_pause_seconds": 0.0, "requests_per_second": 20.0,
    "requests_per_hour": 100, "requests_per_day": 1_000, "bytes_per_hour": 50_000, "viewed_reserve": 0.2,
}  # fmt: skip


class Desk:
    """One ledger, used by the downloader's rules and read by the operators'."""

    def __init__(self, **rules: Any) -> None:
        self.feed = a_feed(**{**RULES, **rules})
        self.ledger = Ledger()
        self.asked = 0

    def take(self, wanted: int, at: datetime) -> Grant:
        self.asked += 1
        demand = Demand(count=wanted, priority=Priority.VIEWED, holder=f"g{self.asked}", slot_seconds=30)
        stored, grant = grants.take(self.ledger, self.feed, demand, at)
        self.ledger = stored or self.ledger
        return grant

    def end(self, grant: Grant, at: datetime, failure: Failure | None = None, received: int = 0) -> None:
        done = [EndedDownload(one.slot, one.slot, one.at, failure, received) for one in grant.requests]
        self.ledger = with_ended(self.ledger, self.feed, done, at, jitter=0.0)

    def use(self, at: datetime) -> BudgetUse:
        return of_ledger(self.feed, self.ledger, at)


def left(use: BudgetUse) -> dict[str, float]:
    return {window.name: window.remaining for window in use.windows}


def test_a_ledger_that_was_never_written_is_unused() -> None:
    use = of_ledger(a_feed(**RULES), Ledger(), NOW)
    assert left(use) == {"second": 20, "hour": 100, "day": 1_000, "bytes_hour": 50_000}
    assert (use.running, use.slots, use.suspensions) == (0, 10, [])


def test_windows_without_a_limit_are_not_named() -> None:
    assert [window.name for window in of_ledger(a_feed(), Ledger(), NOW).windows] == ["second"]


def test_what_was_granted_and_received_is_missing_from_every_window() -> None:
    desk = Desk()
    desk.end(desk.take(7, NOW), after(1), received=1_000)
    desk.take(3, after(1))
    use = desk.use(after(1.1))
    assert left(use) == {"second": 20 - 3, "hour": 90, "day": 990, "bytes_hour": 43_000}
    assert use.running == 3
    assert {window.name: window.remaining_for_routine for window in use.windows} == {
        "second": 16 - 3, "hour": 70, "day": 790, "bytes_hour": 33_000,
    }  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 5_000), st.integers(0, 4_000)), max_size=12))
def test_what_is_said_to_be_left_of_an_hour_and_a_day_is_what_the_rules_grant(
    steps: list[tuple[int, int, int]],
) -> None:
    desk, at = Desk(requests_per_second=0.0, requests_per_hour=30, requests_per_day=50, concurrency=64), NOW
    for wanted, received, seconds in steps:
        desk.end(desk.take(wanted, at), at, received=received)
        at += timedelta(seconds=seconds)
    use = left(desk.use(at))
    has_room = min(use["hour"], use["day"], use["bytes_hour"]) > 0
    sends = desk.take(1, at).requests
    assert has_room == (bool(sends) and sends[0].at == at)


@pytest.mark.parametrize(
    ("ledger", "at", "said"),
    [
        (Ledger(), NOW, []),
        (
            Ledger(breaker=Breaker(Reason.FORBIDDEN, 2.0, Moment(1)), reason="10 in a row"),
            NOW,
            ["its breaker is open: 10 in a row"],
        ),
    ],
)
def test_a_silence_is_said_with_its_reason(ledger: Ledger, at: datetime, said: list[str]) -> None:
    use = of_ledger(a_feed(), ledger, at)
    assert [silence.in_words() for silence in use.suspensions] == said


def test_an_origins_silence_is_said_for_as_long_as_the_rules_heed_it() -> None:
    desk = Desk()
    desk.end(desk.take(1, NOW), NOW, Failure(Reason.THROTTLED, wait_seconds=60))
    (silence,) = desk.use(after(59)).suspensions
    assert (silence.by, silence.until) == ("origin", after(60))
    assert silence.in_words().startswith("frozen until 2026-11-23 09:01:00 UTC: the origin asks for fewer requests")
    assert desk.use(after(60)).suspensions == []


def test_an_operators_freeze_is_said_until_it_ends() -> None:
    for lasting, until in ((None, None), (timedelta(hours=2), after(7_200))):
        document = pause.paused(codec.to_document(Ledger()), "by hand", NOW, lasting)
        use = of_ledger(a_feed(), codec.from_document(document), after(7_199))
        assert use.is_paused
        assert [(one.by, one.since, one.until, one.reason) for one in use.suspensions] == [
            ("operator", NOW, until, "by hand")
        ]
        assert of_ledger(a_feed(), codec.from_document(document), after(7_200)).is_paused == (lasting is None)
        assert not of_ledger(a_feed(), codec.from_document(pause.resumed(document)), NOW).suspensions


@pytest.mark.parametrize(
    ("rules", "downloads", "received", "seconds"),
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
def test_the_time_that_downloads_take_follows_from_the_tightest_budget(
    rules: dict[str, Any], downloads: int, received: int | None, seconds: float
) -> None:
    feed: Feed = a_feed(**{"requests_per_second": 20.0, "batch_pause_seconds": 0.0, **rules})
    use = of_ledger(feed, Ledger(), NOW)
    assert estimate.seconds_for(downloads, received, feed, use) == pytest.approx(seconds)


def test_what_is_used_already_makes_it_longer() -> None:
    desk = Desk(requests_per_second=0.0, requests_per_hour=10, requests_per_day=0, bytes_per_hour=0)
    assert estimate.seconds_for(8, None, desk.feed, desk.use(NOW)) == 0.0
    desk.end(desk.take(1, NOW), NOW)
    assert estimate.seconds_for(8, None, desk.feed, desk.use(NOW)) == 3_600.0


def test_the_use_is_published_under_keys_that_never_change() -> None:
    desk = Desk(requests_per_second=0.0, requests_per_day=0, bytes_per_hour=0)
    desk.end(desk.take(1, NOW), NOW, Failure(Reason.THROTTLED, wait_seconds=60))
    assert to_json(desk.use(NOW)) == {
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
