"""How many photos of a feed may be in flight? As many as are finished in some seconds."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.window import Window
from tests.builders import NOW, a_feed, after

FREE = {"requests_per_second": 0.0, "batch_pause_seconds": 0.0}


@pytest.mark.parametrize(
    ("finished_per_second", "rules", "size"),
    [
        (0.0, {}, 8),
        (0.0, {"batch_size": 5}, 8),
        (0.5, {}, 10),
        (0.5, {"concurrency": 2, "batch_size": 3}, 5),
        (7.9, {}, 40),
        (12.0, {}, 56),
        (100.0, {}, 72),
        (100.0, FREE, 408),
        (10_000.0, FREE, 2_000),
        (float("inf"), FREE, 2_000),
        (9.0, {"requests_per_second": 1.0}, 4),
        (9.0, {"requests_per_second": 0.1}, 1),
        (50.0, {"batch_size": 30, "batch_pause_seconds": 10.0, "requests_per_second": 0.0}, 42),
    ],
)
def test_the_window_is_what_some_seconds_finish_and_at_most_what_the_limits_allow(
    finished_per_second: float, rules: dict[str, float], size: int
) -> None:
    window = Window(NOW, finished_per_second=finished_per_second, observed_seconds=10.0)
    assert window.size(a_feed(**rules)) == size


@pytest.mark.parametrize(("in_flight", "capacity"), [(0, 32), (30, 2), (32, 0), (500, 0)])
def test_capacity_is_the_size_less_the_photos_in_flight(in_flight: int, capacity: int) -> None:
    assert Window(NOW, in_flight).capacity(a_feed()) == capacity


@pytest.mark.parametrize(("finished_per_second", "size"), [(0.0, 32), (2.0, 32), (12.0, 56)])
def test_the_first_window_is_four_batches_at_least(finished_per_second: float, size: int) -> None:
    assert Window(NOW, 0, finished_per_second, observed_seconds=9.9).size(a_feed()) == size


def test_released_photos_take_capacity() -> None:
    window = Window(NOW).released(20).released(5)
    assert (window.in_flight, window.capacity(a_feed())) == (25, 7)


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_clock_that_stands_still_or_goes_back_does_not_change_the_rate(seconds: float) -> None:
    assert Window(NOW, 30, 4.0).observed(10, after(seconds), a_feed()) == Window(after(seconds), 10, 4.0)


def test_the_rate_does_not_change_without_photos_in_flight() -> None:
    assert Window(NOW, 0, 4.0).observed(0, after(60), a_feed()) == Window(after(60), 0, 4.0)


@pytest.mark.parametrize(
    ("before", "seconds", "in_flight", "rate"),
    [
        (Window(NOW, 30, 0.0, 0.0), 1, 20, 10.0),
        (Window(NOW, 30, 4.0, 3.0), 1, 20, 5.5),
        (Window(NOW, 30, 0.0, 10.0), 10, 10, 2.0),
        (Window(NOW, 30, 0.0, 10.0), 20, 10, 1.0),
        (Window(NOW, 30, 4.0, 10.0), 1, 28, 3.8),
        (Window(NOW, 30, 4.0, 10.0), 10, 40, 0.0),
        (Window(NOW, 10, 4.0, 10.0), 10, 0, 1.0),
        (Window(NOW, 24, 4.0, 10.0), 10, 0, 5.0),
        (Window(NOW, 100, 4.0, 10.0), 10, 0, 12.5),
        (Window(NOW, 100, 4.0, 10.0), 1, 0, 125.0),
    ],
)
def test_the_rate_follows_the_photos_finished(before: Window, seconds: float, in_flight: int, rate: float) -> None:
    found = before.observed(in_flight, after(seconds), a_feed())
    assert found.finished_per_second == pytest.approx(rate)
    assert (found.at, found.in_flight) == (after(seconds), in_flight)


@pytest.mark.parametrize("per_second", [0.5, 1, 4, 10, 60, 150, 300])
def test_downloaders_of_any_speed_have_some_work_and_at_most_five_seconds_of_it(
    per_second: float,
) -> None:
    feed, window, finished = a_feed(**FREE), Window(NOW), 0.0
    for tick in range(1, 4 * 120):
        window = window.released(window.capacity(feed))
        finished += per_second / 4
        window = window.observed(max(0, window.in_flight - int(finished)), after(tick / 4), feed)
        finished -= int(finished)
        if tick > 8:
            assert window.in_flight > 0
        if tick > 4 * 60:
            assert window.size(feed) - feed.concurrency <= ceil(5 * per_second)


def test_the_rate_of_a_trickle_is_the_rate_of_its_releases() -> None:
    feed, window = a_feed(**FREE), Window(NOW)
    for tick in range(1, 4 * 3_600):
        window = window.released(1).observed(0, after(tick / 4), feed)
    assert window.finished_per_second == pytest.approx(4.0)


def test_a_window_that_always_runs_empty_grows_to_the_maximum() -> None:
    feed, window = a_feed(**FREE), Window(NOW)
    for tick in range(1, 10_000):
        window = window.released(window.capacity(feed)).observed(0, after(tick / 4), feed)
    assert (window.size(feed), window.finished_per_second) == (2_000, 2_000)


def test_the_window_shrinks_when_downloaders_stop() -> None:
    feed, window = a_feed(**FREE), Window(NOW, 400, 100.0, 10.0)
    for tick in range(1, 4 * 120):
        window = window.observed(400, after(tick * 0.25), feed)
    assert window.size(feed) == 9


@given(
    st.integers(0, 10_000), st.floats(0, 10_000), st.integers(0, 10_000), st.floats(0.001, 3_600), st.integers(1, 10)
)
def test_the_size_is_always_from_one_to_the_maximum(
    before: int, rate: float, in_flight: int, seconds: float, batch_size: int
) -> None:
    feed = a_feed(batch_size=batch_size, **FREE)
    window = Window(NOW, before, rate).observed(in_flight, after(seconds), feed)
    assert window.finished_per_second >= 0
    assert 1 <= window.size(feed) <= 2_000
    assert 0 <= window.capacity(feed) <= window.size(feed)
