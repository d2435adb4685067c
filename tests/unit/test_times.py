"""When did something change? Tables of the notations in which MLSs write times."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.times import TimeRules, read_time

AT = datetime(2026, 11, 20, 15, 2, 33, tzinfo=UTC)
TORONTO = TimeRules("America/Toronto")


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20T15:02:33Z",
        "2026-11-20t15:02:33z",
        " 2026-11-20 15:02:33 ",
        "2026-11-20T15:02:33.000-00:00",
        "2026-11-20 10:02:33 -0500",
        "2026-11-20 15:02:33 UTC",
        "20261120150233",
        20261120150233,
        "/Date(1795186953000)/",
        "/Date(1795186953000-0500)/",
        "1795186953",
        "1795186953.5",
        1795186953,
        1795186953.0,
        1795186953000,
        1795186953000000,
        "11/20/2026 3:02:33 PM",
        "11/20/2026 3:02:33PM",
        "11/20/2026 3:02:33 p.m.",
        "11/20/2026 15:02:33",
        "11/20/26 15:02:33",
        "11/20/2026 10:02:33 AM -05:00",
        "20/11/2026 3:02:33 PM",
        "20.11.2026 15:02:33",
        "2026/11/20 15:02:33",
        "Fri, 20 Nov 2026 15:02:33 GMT",
        "20-Nov-2026 15:02:33",
        "Nov 20 2026 3:02:33PM",
        "November 20, 2026 3:02:33 pm",
    ],
)
def test_a_time_is_read_in_each_notation(value: object) -> None:
    assert read_time(value, TimeRules()) == AT


@pytest.mark.parametrize(
    ("value", "hour", "minute"),
    [("20/03/2020 12:15:40 AM", 0, 15), ("3/20/2020 12:15:40 PM", 12, 15), ("20/03/2020", 0, 0), ("20200320", 0, 0)],
)
def test_midnight_and_noon_are_twelve(value: str, hour: int, minute: int) -> None:
    time = read_time(value, TimeRules())
    assert time is not None
    assert (time.month, time.day, time.hour, time.minute) == (3, 20, hour, minute)


@pytest.mark.parametrize(
    ("value", "day_first", "month"),
    [
        ("03/04/2026", False, 3),
        ("03/04/2026", True, 4),
        ("03.04.2026", False, 4),
        ("13/04/2026", False, 4),
        ("04/13/2026", True, 4),
    ],
)
def test_the_day_is_first_if_the_feed_says_so_or_no_month_is(value: str, day_first: bool, month: int) -> None:
    time = read_time(value, TimeRules(day_first=day_first))
    assert time is not None
    assert time.month == month


@pytest.mark.parametrize(
    "value", [None, "", "  ", 0, "0", "0000-00-00 00:00:00", "0001-01-01T00:00:00", "1900-01-01", "1/1/1900"]
)
def test_an_empty_time_and_never_are_missing(value: object) -> None:
    assert read_time(value, TORONTO) is None


@pytest.mark.parametrize(
    "value",
    [
        "yesterday", "2026-13-01", "99/99/2026", "0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00", "marching",
        "²³", 5, 1.5, True, [], {}, float("nan"), float("inf"), 1e300, 10**400, "12", "NaN",
    ],
)  # fmt: skip
def test_a_value_that_is_no_time_raises(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_time(value, TORONTO)


@pytest.mark.parametrize(
    ("value", "hides", "expected"),
    [
        ("2026-11-20T10:02:33", False, AT),
        ("11/20/2026 10:02:33 AM", False, AT),
        ("2026-11-20T15:02:33Z", False, AT),
        ("2026-11-01T01:30:00", False, datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
        ("2026-11-01T01:30:00", True, datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        ("2026-11-01T02:30:00", True, datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
        ("2026-11-01T01:30:00-04:00", True, datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_in_the_feeds(value: str, hides: bool, expected: datetime) -> None:
    assert read_time(value, TimeRules("America/Toronto", hides=hides)) == expected


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary())
def test_any_value_is_read_or_refused(value: object) -> None:
    try:
        time = read_time(value, TORONTO)
    except ValueError:
        return
    assert time is None or time.tzinfo is UTC


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2999, 1, 1)))  # noqa: DTZ001 - in UTC below
def test_a_time_is_read_as_it_was_written(drawn: datetime) -> None:
    whole = drawn.replace(microsecond=0)
    for text in (whole.isoformat(), whole.strftime("%m/%d/%Y %I:%M:%S %p"), whole.strftime("%d %b %Y %H:%M:%S")):
        assert read_time(text, TimeRules()) == whole.replace(tzinfo=UTC), text
