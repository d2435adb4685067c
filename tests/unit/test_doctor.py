"""The doctor reports the difference of clocks that a server's answer proves, and no more."""

from datetime import timedelta

import pytest

from ops import doctor
from ops.doctor import State
from tests.builders import NOW, a_feed, after


@pytest.mark.parametrize(
    ("server_seconds", "apart"),
    [
        (0, 0),  # seconds after the question, whose answer came a second later
        (1, 0),
        (-1, 0),  # perhaps cut to the whole second
        (31, 30),
        (-31, 30),
    ],
)
def test_the_least_skew_allows_for_travel_time_and_whole_seconds(server_seconds: float, apart: float) -> None:
    assert doctor.least_skew(NOW, after(server_seconds), after(1)) == timedelta(seconds=apart)


def test_a_clock_that_is_away_from_ours_is_a_fault_with_advice() -> None:
    assert doctor.check_clock("mongo", timedelta(0)).state is State.OK
    found = doctor.check_clock("mongo", timedelta(seconds=30))
    assert (found.what, found.state) == ("clock of mongo", State.FAULT)
    assert "30 s or more" in found.message
    assert "NTP" in found.advice


def test_a_feed_that_left_the_file_and_is_still_shown_is_a_fault() -> None:
    (found,) = doctor.check_displayed_feeds({"here": a_feed()}, {"here": 5, "gone": 40, "over": 0})
    assert (found.what, found.state) == ("feed gone", State.FAULT)
    assert found.message.startswith("40 of its listings are displayed, but it is not in feeds.toml")


def test_an_unknown_variable_is_a_fault_with_the_most_similar_setting() -> None:
    near, far = doctor.check_variables({"IMAGES_LOGLEVEL": "IMAGES_LOG_LEVEL", "IMAGES_ZZZ": ""})
    assert (near.what, near.state, near.advice) == ("IMAGES_LOGLEVEL", State.FAULT, "set IMAGES_LOG_LEVEL instead")
    assert (far.what, far.advice) == ("IMAGES_ZZZ", "see .env.example")
