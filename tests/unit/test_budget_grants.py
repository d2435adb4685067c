"""What does the origin budget grant? Limits and shares, planned times, slots, and how slots end and expire."""

from typing import Any

import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.priority import Priority
from shared.origin_budget import grants
from shared.origin_budget.accounting import EndedDownload
from shared.origin_budget.advance import advanced, with_earlier_runs_expired
from shared.origin_budget.grants import Demand
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import limits_of
from shared.origin_budget.moments import to_moment
from shared.origin_budget.pacing import is_on_time
from tests.budgets import UNPACED, FeedBudget
from tests.builders import NOW, a_feed, after

VIEWED, ROUTINE = Priority.VIEWED, Priority.ROUTINE


@pytest.mark.parametrize(
    ("rules", "priority", "limit", "expected"),
    [
        ({"concurrency": 8}, ROUTINE, "downloads", 6),
        ({"concurrency": 8}, VIEWED, "downloads", 8),
        ({"concurrency": 1}, ROUTINE, "downloads", 1),
        ({"requests_per_second": 16}, ROUTINE, "requests_per_window", 12),
        ({"requests_per_second": 16}, VIEWED, "requests_per_window", 16),
        ({"requests_per_second": 2.5}, VIEWED, "requests_per_window", 2),
        ({"requests_per_second": 1}, ROUTINE, "requests_per_window", 1),
        ({"requests_per_second": 1}, VIEWED, "window_micros", 1_080_000),
        ({"requests_per_second": 0.5}, ROUTINE, "requests_per_window", 1),
        ({"requests_per_second": 0.5}, VIEWED, "window_micros", 2_080_000),
        ({"requests_per_hour": 10}, ROUTINE, "requests_per_hour", 8),
        ({"requests_per_day": 1}, ROUTINE, "requests_per_day", 1),
        ({"requests_per_day": 0}, ROUTINE, "requests_per_day", 0),
        ({"viewed_reserve": 0.9, "bytes_per_hour": 1_000}, ROUTINE, "bytes_per_hour", 100),
    ],
)
def test_each_priority_has_its_share_of_each_limit_and_at_least_1(
    rules: dict[str, Any], priority: Priority, limit: str, expected: int
) -> None:
    assert getattr(limits_of(a_feed(**rules), priority), limit) == expected


@pytest.mark.parametrize("rate", [1.0, 2.0, 3.0, 5.0, 7.0, 12.0, 16.0, 30.0, 100.0])
@pytest.mark.parametrize("pause", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("size", [1, 5, 8, 10])
def test_batches_use_nine_tenths_of_the_rate_that_pauses_allow(rate: float, pause: float, size: int) -> None:
    """The pause counts with the lateness that a request may have. A rate that no batch size fits is not required."""
    feed = a_feed(
        requests_per_second=rate, batch_pause_seconds=pause, batch_size=size, concurrency=64, viewed_reserve=0.0
    )
    ledger, granted = Ledger(), 0
    seconds, now = 20.0, 0.0
    while now < seconds:
        demand = Demand(count=size, priority=ROUTINE, holder=f"{now}", slot_seconds=0.0)
        changed, grant = grants.take(ledger, feed, demand, after(now))
        ledger, granted = changed or ledger, granted + len(grant.requests)
        now = (grant.ask_again_at - NOW).total_seconds() if grant.ask_again_at else now
    assert granted >= 0.9 * seconds * min(rate, _best(size, pause + 0.04 if pause else 0.0, rate))


@pytest.mark.parametrize("priority", [VIEWED, ROUTINE])
@pytest.mark.parametrize("pause", [0.1, 0.5, 1.0, 3.0])
def test_a_pause_follows_each_batch_but_viewed_photos_ignore_a_long_pause(pause: float, priority: Priority) -> None:
    budget = FeedBudget(a_feed(requests_per_second=0.0, concurrency=64, batch_size=5, batch_pause_seconds=pause))
    first, second = budget.take(5, 0, priority), budget.take(5, 0.05, VIEWED)
    gap = (second.requests[0].at - first.requests[-1].at).total_seconds()
    assert gap >= pause if pause <= 1 else gap < 0.1


def _best(size: int, pause: float, rate: float) -> float:
    """Return the most requests a second that bursts of at most `size` make, with a whole number of bursts a second."""
    if not pause:
        return rate
    bursts = [(count, max(pause, 1.0 / max(1, rate // count))) for count in range(1, size + 1) if count <= rate]
    return max(count / cycle for count, cycle in bursts)


@pytest.mark.parametrize(
    ("rules", "window_seconds"),
    [({"requests_per_hour": 10}, 3_600), ({"requests_per_day": 10}, 86_400)],
    ids=["hour", "day"],
)
def test_routine_photos_leave_the_reserve_and_viewed_photos_use_it(rules: dict[str, Any], window_seconds: int) -> None:
    budget = FeedBudget(a_feed(**UNPACED, **rules, concurrency=64, batch_size=10))
    assert len(budget.take(10).requests) == 8
    assert len(budget.take(10, 1).requests) == 0
    assert len(budget.take(10, 2, VIEWED).requests) == 2
    assert len(budget.take(10, window_seconds - 1, VIEWED).requests) == 0
    assert len(budget.take(10, 1.1 * window_seconds, VIEWED).requests) == 10


@pytest.mark.parametrize("failure", [None, Failure(Reason.BROKEN_BODY), Failure(Reason.TIMEOUT)])
def test_the_limit_of_bytes_is_exceeded_by_the_files_in_flight_at_most(failure: Failure | None) -> None:
    budget = FeedBudget(a_feed(**UNPACED, bytes_per_hour=1_000, viewed_reserve=0.0))
    budget.end(budget.take(7), 1, failure, received_bytes=200)
    refused = budget.take(8, 2)
    assert not refused.requests
    assert refused.ask_again_at is not None
    assert after(3_600) < refused.ask_again_at < after(3_670)


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        ((), 0.04),
        ((0.5,), 0.04),
        ((0.5, 0.9), 1.58),
        ((0.5, 1.1), 1.58),
        ((0.5, 1.3), 0.04),
        ((1.5, 1.9), 0.04),
        ((0.9, 1.0, 2.0), 2.08),
    ],
)
def test_a_request_that_is_planned_before_others_keeps_all_windows_within_the_rate(
    planned: tuple[float, ...], expected: float
) -> None:
    """A viewed photo's request may go before others. Two requests may go in a second, which is counted as 1.08 s."""
    budget = FeedBudget(a_feed(requests_per_second=2.0))
    budget.ledger = Ledger(as_of=to_moment(NOW), planned=tuple(to_moment(after(at)) for at in planned))
    assert [request.at for request in budget.take(1, 0, VIEWED).requests] == [after(expected)]


def test_the_slots_of_a_dead_worker_expire_and_count_as_the_largest_files() -> None:
    feed = a_feed(**UNPACED, bytes_per_hour=10_000, max_file_bytes=3_000, concurrency=4, viewed_reserve=0.0)
    budget = FeedBudget(feed)
    assert len(budget.take(8).requests) == 4
    assert not budget.take(8, 29).requests
    assert not budget.take(8, 31).requests, "12,000 bytes may have come"
    assert len(budget.take(8, 3_700).requests) == 4


def test_a_restarted_worker_frees_the_slots_of_its_earlier_runs_and_no_others() -> None:
    feed = a_feed(**UNPACED, bytes_per_hour=10_000, max_file_bytes=3_000)
    slots = dict.fromkeys(("w1-a-0", "w1-b-0", "w11-a-0", "w2-a-0"), to_moment(after(60)))
    ledger = advanced(with_earlier_runs_expired(Ledger(slots=slots), "w1", "b", NOW), feed, NOW)
    assert list(ledger.slots) == ["w1-b-0", "w11-a-0", "w2-a-0"]
    assert [size for _, size in ledger.hour_bytes] == [3_000], "as many bytes as the dead worker may have received"
    assert with_earlier_runs_expired(ledger, "w1", "b", NOW) is ledger


def test_a_download_that_is_accounted_for_twice_counts_once() -> None:
    budget = FeedBudget(a_feed(requests_per_hour=10, bytes_per_hour=10_000, viewed_reserve=0.0))
    first, second = budget.take(2), budget.take(2)
    ended = [
        EndedDownload(request.slot, "image", None, received_bytes=100, unused=(request.at,))
        for request in first.requests
    ]
    budget.account(ended, 1)
    once = budget.ledger
    budget.account(ended, 1)
    assert budget.ledger == once
    assert sum(amount for _, amount in once.hour_requests) == len(second.requests)


def test_a_download_whose_slot_expired_gets_no_request_if_no_slot_is_free() -> None:
    budget = FeedBudget(a_feed(**UNPACED, concurrency=1, viewed_reserve=0.0))
    expired = budget.take(1).requests[0].slot
    budget.take(1, 31)
    _, grant = grants.take_request(budget.ledger, budget.feed, expired, ROUTINE, after(32), slot_seconds=30)
    assert not grant.requests


def test_the_next_free_slot_is_kept_for_a_viewed_photo_that_found_none() -> None:
    budget = FeedBudget(a_feed(**UNPACED, concurrency=1))
    running = budget.take(1)
    assert not budget.take(1, 0.1, VIEWED).requests
    budget.end(running, 0.2)
    assert not budget.take(1, 0.25).requests
    viewed = budget.take(1, 0.3, VIEWED)
    assert viewed.requests
    budget.end(viewed, 0.4)
    assert budget.take(1, 0.4).requests


def test_a_slot_is_not_kept_for_long_if_the_viewed_photo_does_not_ask_again() -> None:
    budget = FeedBudget(a_feed(**UNPACED, concurrency=1))
    running = budget.take(1)
    budget.take(1, 0.1, VIEWED)
    budget.end(running, 0.2)
    assert budget.take(1, 0.7).requests


def test_a_limit_counts_on_as_if_no_time_had_passed_when_the_stores_clock_is_set_back() -> None:
    budget = FeedBudget(a_feed(**UNPACED, requests_per_hour=4, viewed_reserve=0.0))
    budget.take(4)
    year = 365 * 86_400
    assert not budget.take(1, -year).requests
    assert budget.ledger.as_of < to_moment(NOW)
    assert not budget.take(1, 3_000 - year).requests
    assert budget.take(1, 3_800 - year).requests


@pytest.mark.parametrize(
    ("late_seconds", "rules", "is_sent"),
    [
        (0.0, {}, True),
        (0.04, {}, True),
        (0.05, {}, False),
        (-1.0, {}, False),
        (0.05, UNPACED, True),
        (3.0, UNPACED, False),
    ],
)
def test_a_request_is_sent_at_its_planned_time_or_not_at_all(
    late_seconds: float, rules: dict[str, Any], is_sent: bool
) -> None:
    assert is_on_time(a_feed(**rules), NOW, after(late_seconds)) == is_sent
