"""How fast a feed's photos are expected to be finished: as measured of late, but never faster than its limits allow."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.priority import Priority
from shared.domain.throughput import (
    Throughput,
    allowed_per_second,
    expected_per_second,
    seconds_until_done,
    seconds_until_turn,
    sustained_per_second,
)
from tests.builders import NOW, a_feed, after

UNLIMITED = {"requests_per_second": 0.0, "batch_pause_seconds": 0.0}


@pytest.mark.parametrize(
    ("rules", "rate"),
    [
        ({}, 16.0),
        ({"requests_per_second": 5.0}, 5.0),
        ({"requests_per_second": 100.0}, 16.0),
        ({"requests_per_second": 0.0}, 16.0),
        ({"batch_size": 10, "batch_pause_seconds": 2.0}, 5.0),
        ({"batch_pause_seconds": 0.0, "requests_per_second": 40.0}, 40.0),
        (UNLIMITED, inf),
    ],
)
def test_a_feed_allows_the_lesser_of_its_rate_and_what_its_pauses_leave(rules: dict[str, float], rate: float) -> None:
    assert allowed_per_second(a_feed(**rules)) == rate


@pytest.mark.parametrize(
    ("rules", "rate"),
    [
        ({}, 12.8),
        ({"viewed_reserve": 0.0}, 16.0),
        ({"requests_per_hour": 7_200}, 1.6),
        ({"requests_per_day": 40_000, "viewed_reserve": 0.0}, 40_000 / 86_400),
        ({"requests_per_hour": 7_200, "requests_per_day": 8_640, "viewed_reserve": 0.5}, 0.05),
        ({"batch_pause_seconds": 4.0}, 2.0),
        (UNLIMITED, inf),
    ],
)
def test_all_limits_and_the_reserve_bound_the_sustained_rate(rules: dict[str, float], rate: float) -> None:
    assert sustained_per_second(a_feed(**rules)) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("rules", "measured", "rate"),
    [
        ({}, Throughput(NOW, 5.0), 5.0),
        ({}, Throughput(NOW, 50.0), 12.8),
        (UNLIMITED, Throughput(NOW, 50.0), 50.0),
        ({}, None, 12.8),
        ({}, Throughput(NOW, 0.0), 12.8),
        ({}, Throughput(after(-3_600), 5.0), 12.8),
        (UNLIMITED, None, None),
        (UNLIMITED, Throughput(after(-3_600), 5.0), None),
    ],
)
def test_the_measured_throughput_is_expected_while_it_is_fresh_and_allowed(
    rules: dict[str, float], measured: Throughput | None, rate: float | None
) -> None:
    assert expected_per_second(a_feed(**rules), measured, NOW) == (rate and pytest.approx(rate))


@pytest.mark.parametrize(("ahead", "rate", "seconds"), [(0, 4.0, 0.0), (100, 4.0, 25.0), (100, None, None)])
def test_a_photo_has_its_turn_after_all_photos_ahead(ahead: int, rate: float | None, seconds: float | None) -> None:
    assert seconds_until_turn(ahead, rate) == seconds


def test_the_queue_of_a_priority_is_done_after_all_more_urgent_queues() -> None:
    queued: dict[str, int] = {Priority.VIEWED: 10, Priority.POPULAR: 30, Priority.ROUTINE: 60}
    assert seconds_until_done(queued, 2.0) == {
        Priority.VIEWED: 5.0, Priority.SEARCHED: 5.0, Priority.POPULAR: 20.0, Priority.ROUTINE: 50.0,
    }  # fmt: skip
    assert set(seconds_until_done(queued, None).values()) == {None}


@given(st.dictionaries(st.sampled_from(Priority), st.integers(0, 10**7)), st.floats(0.001, 10_000))
def test_less_urgent_queues_are_never_done_earlier(queued: dict[str, int], rate: float) -> None:
    ends = [seconds or 0.0 for seconds in seconds_until_done(queued, rate).values()]
    assert ends == sorted(ends)
