"""When is a photo tried again? By the reason, the attempts so far, and the feed's rules."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.failures import REASONS, Failure, Reason
from shared.domain.retry import GIVEN_UP_FOR, is_given_up, next_attempt, parse_retry_after
from tests.builders import NOW, a_feed

FINAL = {
    *(Reason.GONE, Reason.BAD_URL, Reason.REFUSED_HOST),
    *(Reason.TOO_LARGE, Reason.UNSUPPORTED_FORMAT, Reason.TOO_MANY_PIXELS, Reason.TOO_MUCH_MEMORY),
}


def wait(
    reason: Reason = Reason.TIMEOUT,
    attempts: int = 1,
    jitter: float = 0.0,
    requested: float | None = None,
    *,
    may_come: bool = False,
    **rules: Any,
) -> float:
    """Return the seconds until the next attempt."""
    failure = Failure(reason, wait_seconds=requested, may_come=may_come)
    return (next_attempt(failure, attempts, a_feed(**rules), NOW, jitter) - NOW).total_seconds()


def test_each_reason_has_a_rule_and_a_meaning() -> None:
    assert set(REASONS) == set(Reason)
    assert all(rule.meaning for rule in REASONS.values())
    assert {reason for reason, rule in REASONS.items() if rule.is_final} == FINAL


@pytest.mark.parametrize("reason", sorted(FINAL))
def test_a_final_reason_gives_a_photo_up_at_the_first_attempt_for_a_day(reason: Reason) -> None:
    assert is_given_up(Failure(reason), 1, a_feed())
    assert wait(reason) == GIVEN_UP_FOR.total_seconds() == 86_400


@pytest.mark.parametrize("reason", sorted(set(Reason) - FINAL))
def test_other_reasons_give_a_photo_up_after_max_attempts(reason: Reason) -> None:
    feed = a_feed(max_attempts=3)
    assert [is_given_up(Failure(reason), attempts, feed) for attempts in (1, 2, 3, 4)] == [False, False, True, True]
    assert wait(reason, 3, max_attempts=3) == 86_400


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (11, 21_600), (50, 21_600), (99, 21_600)]
)
def test_the_wait_doubles_with_each_attempt_up_to_the_maximum(attempts: int, seconds: float) -> None:
    assert wait(attempts=attempts, max_attempts=100) == seconds


def test_a_photo_that_may_come_is_asked_for_within_minutes_and_never_given_up() -> None:
    feed = a_feed(max_attempts=3, retry_max_seconds=21_600.0)
    waits = [wait(Reason.GONE, attempts, may_come=True, max_attempts=3) for attempts in (1, 2, 3, 4, 5, 50)]
    assert waits == [30, 60, 120, 240, 300, 300]
    assert wait(Reason.GONE, may_come=True, retry_base_seconds=3_600.0) == 300
    assert not is_given_up(Failure(Reason.GONE, may_come=True), 50, feed)


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 30.0), (0.5, 37.5), (1.0, 45.0)])
def test_jitter_prolongs_the_wait_by_up_to_a_half(jitter: float, seconds: float) -> None:
    assert wait(jitter=jitter) == seconds


@pytest.mark.parametrize(
    ("requested", "seconds"), [(None, 30), (0.0, 30), (10.0, 30), (600.0, 600), (86_400.0, 86_400)]
)
def test_the_wait_is_at_least_what_the_origin_requested_for(requested: float | None, seconds: float) -> None:
    assert wait(Reason.THROTTLED, requested=requested) == seconds


@given(
    st.sampled_from(sorted(Reason)),
    st.integers(1, 100),
    st.floats(0, 1),
    st.floats(0.1, 3_600),
    st.floats(3_600, 1e9),
    st.integers(1, 100),
    st.none() | st.floats(0, 86_400),
)
def test_the_next_attempt_is_later_and_within_bounds_for_any_allowed_rules(
    reason: Reason, attempts: int, jitter: float, base: float, longest: float, most: int, requested: float | None
) -> None:
    seconds = wait(
        reason, attempts, jitter, requested, retry_base_seconds=base, retry_max_seconds=longest, max_attempts=most
    )
    assert timedelta(seconds=seconds) > timedelta(0)
    assert seconds <= max(longest * 1.5, 86_400) + 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("999999999999999999999", 86_400.0),
        ("9" * 5000, None),
        ("-5", None),
        ("-0", None),
        ("0x10", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Mon, 23 Nov 2026 09:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 10:01:00 +0100", 60.0),
        ("Mon, 23 Nov 2026 09:01:00 -0000", 60.0),
        ("Monday, 23-Nov-26 09:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 08:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Mon, 99 Nov 2026 09:01:00 GMT", None),
        ("Mon, 23 Nov 2026 09:01:00 +9999", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_within_a_day(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds
