"""When does the origin budget suspend a feed, and when do requests go on? Throttling and the circuit breaker."""

import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.priority import Priority
from shared.origin_budget import breaker, suspension
from shared.origin_budget.accounting import EndedDownload
from shared.origin_budget.moments import SECOND_MICROS
from tests.budgets import UNPACED, FeedBudget
from tests.builders import NOW, a_feed, after

VIEWED = Priority.VIEWED

# Throttling


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (Failure(Reason.THROTTLED), 1.0),
        (Failure(Reason.THROTTLED, wait_seconds=0.0), 1.0),
        (Failure(Reason.THROTTLED, wait_seconds=7.0), 7.0),
        (Failure(Reason.THROTTLED, wait_seconds=1e12), 86_400.0),
        (Failure(Reason.ORIGIN_ERROR), 0.0),
        (Failure(Reason.ORIGIN_ERROR, wait_seconds=30.0), 30.0),
        (Failure(Reason.FORBIDDEN), 0.0),
    ],
)
def test_a_feed_is_throttled_for_as_long_as_the_origin_asks_within_bounds(failure: Failure, seconds: float) -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    first, other = budget.take(1), budget.take(1)
    budget.end(first, 1, failure)
    assert bool(budget.take(1, 1, VIEWED).requests) == (seconds == 0)
    refused = suspension.refused_until(budget.ledger, other.requests[0].slot, after(1))
    assert refused == (after(1 + seconds) if seconds else None)
    if seconds:
        assert budget.take(1, 0.5 + seconds).ask_again_at == after(1 + seconds)
        assert budget.take(1, 1 + seconds).requests


def test_throttlings_without_a_named_time_double_until_an_answer_is_good_some_time_later() -> None:
    budget, now, throttlings = FeedBudget(a_feed(**UNPACED)), 0.0, []
    for _ in range(11):
        budget.end(budget.take(1, now), now, Failure(Reason.THROTTLED))
        throttlings.append((budget.ledger.throttled_until - budget.ledger.as_of) / SECOND_MICROS)
        now += throttlings[-1]
    assert throttlings == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    budget.end(budget.take(1, now + 1), now + 1)  # right after a throttling any origin answers some
    assert budget.ledger.throttlings
    budget.end(budget.take(1, now + 11), now + 11)
    assert not budget.ledger.throttlings


def test_answers_to_requests_before_a_throttling_prolong_it_only_if_they_name_a_time() -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    first, second, third = budget.take(1), budget.take(1), budget.take(1)
    budget.end(first, 1, Failure(Reason.THROTTLED))
    until = budget.ledger.throttled_until
    budget.end(second, 1.5, Failure(Reason.THROTTLED))
    assert budget.ledger.throttled_until == until
    budget.end(third, 1.6, Failure(Reason.THROTTLED, wait_seconds=60.0))
    assert budget.ledger.throttled_until > until


# The breaker


@pytest.mark.parametrize(
    ("reason", "times", "opens"),
    [
        (Reason.FORBIDDEN, 9, None),
        (Reason.FORBIDDEN, 10, Reason.FORBIDDEN),
        (Reason.GONE, 39, None),
        (Reason.GONE, 40, Reason.GONE),
        (Reason.UNREACHABLE, 7, None),
        (Reason.UNREACHABLE, 8, Reason.UNREACHABLE),
        (Reason.TIMEOUT, 8, Reason.UNREACHABLE),
        (Reason.ORIGIN_ERROR, 50, None),
        (Reason.BROKEN_BODY, 50, None),
        (Reason.BAD_URL, 50, None),
    ],
)
def test_the_breaker_opens_after_enough_failures_of_one_kind(reason: Reason, times: int, opens: Reason | None) -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    budget.fail(times, reason)
    assert budget.opened_by == opens
    assert ("in a row failed" in budget.ledger.reason) == (opens is not None)


@pytest.mark.parametrize(
    ("between", "opens"),
    [
        (None, None),
        (Reason.GONE, None),
        (Reason.NOT_AN_IMAGE, None),
        (Reason.ORIGIN_ERROR, Reason.FORBIDDEN),
        (Reason.BAD_URL, Reason.FORBIDDEN),
    ],
)
def test_an_answer_of_a_healthy_origin_ends_the_row_of_failures(between: Reason | None, opens: Reason | None) -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    budget.fail(9, Reason.FORBIDDEN)
    budget.end(budget.take(1), 0, Failure(between) if between else None)
    budget.fail(1, Reason.FORBIDDEN)
    assert budget.opened_by == opens


def test_the_breaker_counts_images_and_not_attempts() -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    for image in "abcdabcd":
        budget.end(budget.take(1), 0, Failure(Reason.TIMEOUT), image_id=image)
    assert budget.opened_by is None
    for image in "efgh":
        assert budget.opened_by is None
        budget.end(budget.take(1), 0, Failure(Reason.UNREACHABLE), image_id=image)
    assert budget.opened_by is Reason.UNREACHABLE


def test_a_download_that_our_own_budget_refused_says_nothing_of_the_origin() -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    budget.fail(9, Reason.FORBIDDEN)
    deferred = budget.take(1).requests[0]
    failure = Failure(Reason.THROTTLED, "the feed's budget is spent")
    budget.account([EndedDownload(deferred.slot, "image", None, failure)], 0)
    assert not budget.ledger.throttled_until
    assert len(budget.ledger.failed_images) == 9


def test_an_open_breaker_grants_one_probe_at_a_time_after_ever_longer_waits() -> None:
    budget, now, waits = FeedBudget(a_feed(**UNPACED)), 0.0, []
    planned = budget.take(1).requests[0].slot
    budget.fail(8, Reason.UNREACHABLE)
    assert suspension.refused_until(budget.ledger, planned, NOW) is not None
    for _ in range(6):
        assert budget.ledger.breaker is not None
        waits.append(budget.ledger.breaker.wait_seconds)
        assert not budget.take(8, now + waits[-1] - 0.1, VIEWED).requests
        now += waits[-1]
        probe = budget.take(8, now)
        assert len(probe.requests) == 1
        assert not budget.take(8, now, VIEWED).requests
        assert suspension.refused_until(budget.ledger, probe.requests[0].slot, after(now)) is None
        budget.end(probe, now, Failure(Reason.UNREACHABLE))
    assert waits == [2, 4, 8, 16, 30, 30]


def test_photos_that_failed_before_probe_later_than_others() -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    assert budget.take(1, 0, failed_before=True).requests
    budget.fail(8, Reason.UNREACHABLE)
    refused = budget.take(1, 2, VIEWED, failed_before=True)
    assert (refused.requests, refused.ask_again_at) == ((), after(5))
    probe = budget.take(1, 2)
    assert probe.requests
    budget.end(probe, 3, Failure(Reason.UNREACHABLE))
    assert not budget.take(1, 9.9, failed_before=True).requests
    assert budget.take(1, 10, failed_before=True).requests


def test_a_probe_of_a_dead_worker_is_followed_by_another() -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    budget.fail(8, Reason.UNREACHABLE)
    assert budget.take(1, 2).requests
    assert not budget.take(1, 31).requests
    assert len(budget.take(8, 33).requests) == 1


@pytest.mark.parametrize(
    ("opened_by", "answer", "closes"),
    [
        (Reason.UNREACHABLE, None, True),
        (Reason.UNREACHABLE, Reason.GONE, True),
        (Reason.UNREACHABLE, Reason.TIMEOUT, False),
        (Reason.UNREACHABLE, Reason.ORIGIN_ERROR, False),
        (Reason.FORBIDDEN, None, True),
        (Reason.FORBIDDEN, Reason.GONE, True),
        (Reason.FORBIDDEN, Reason.FORBIDDEN, False),
        (Reason.FORBIDDEN, Reason.UNREACHABLE, False),
        (Reason.GONE, Reason.NOT_AN_IMAGE, True),
        (Reason.GONE, Reason.GONE, False),
        (Reason.GONE, Reason.BAD_URL, False),
    ],
)
def test_the_breaker_closes_if_the_probe_gets_an_answer_of_a_healthy_origin(
    opened_by: Reason, answer: Reason | None, closes: bool
) -> None:
    budget = FeedBudget(a_feed(**UNPACED))
    budget.fail(breaker.OPENS_AFTER[opened_by], opened_by)
    budget.end(budget.take(1, 2), 3, Failure(answer) if answer else None)
    assert (budget.ledger.breaker is None) == closes
    assert bool(budget.take(8, 3, VIEWED).requests) == (closes or answer is Reason.BAD_URL)
