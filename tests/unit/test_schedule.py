"""When does the daily sweep run? Once a day, also when the clocks change; a missed sweep is due once."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler import schedule
from tests.builders import NOW, a_feed, after

TORONTO = a_feed()
ZONES = ["America/Toronto", "America/Vancouver", "America/St_Johns", "Australia/Lord_Howe", "Europe/London", "UTC"]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("sweep_at", "day", "start"),
    [
        ("02:00", "2026-11-23", "2026-11-23T07:00"),
        ("02:00", "2026-07-01", "2026-07-01T06:00"),
        # 2026-03-08: 02:00 becomes 03:00.
        ("01:59", "2026-03-08", "2026-03-08T06:59"),
        ("02:00", "2026-03-08", "2026-03-08T07:00"),
        ("02:30", "2026-03-08", "2026-03-08T07:30"),
        ("03:00", "2026-03-08", "2026-03-08T07:00"),
        # 2026-11-01: 02:00 becomes 01:00, so that 01:30 comes twice.
        ("01:30", "2026-11-01", "2026-11-01T05:30"),
        ("02:00", "2026-11-01", "2026-11-01T07:00"),
    ],
)
def test_a_sweep_starts_at_its_local_time_even_if_that_is_skipped_or_comes_twice(
    sweep_at: str, day: str, start: str
) -> None:
    assert schedule.start_of(a_feed(sweep_at=sweep_at), datetime.fromisoformat(day).date()) == utc(start)


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2026-11-23T06:59:59", "2026-11-22T07:00"),
        ("2026-11-23T07:00:00", "2026-11-23T07:00"),
        ("2026-11-24T04:59:59", "2026-11-23T07:00"),
        ("2026-11-24T05:00:01", "2026-11-23T07:00"),
    ],
)
def test_the_last_start_is_the_newest_one_that_is_not_in_the_future(now: str, start: str) -> None:
    assert schedule.last_start(TORONTO, utc(now)) == utc(start)


@pytest.mark.parametrize(
    ("swept", "now", "due"),
    [
        (None, "2026-11-23T12:00", "2026-11-23T07:00"),
        ("2026-11-23T07:00", "2026-11-23T12:00", None),
        ("2026-11-22T07:00", "2026-11-23T06:59", None),
        ("2026-11-22T07:00", "2026-11-23T07:00", "2026-11-23T07:00"),
        ("2026-11-22T07:00", "2026-11-23T23:00", "2026-11-23T07:00"),
        ("2026-11-02T07:00", "2026-11-23T12:00", "2026-11-23T07:00"),
    ],
)
def test_of_several_missed_sweeps_only_the_newest_is_due(swept: str | None, now: str, due: str | None) -> None:
    assert schedule.due_start(TORONTO, utc(swept) if swept else None, utc(now)) == (utc(due) if due else None)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("sweep_at", ["00:00", "01:30", "02:00", "02:30", "23:59"])
def test_a_year_has_one_sweep_for_each_local_day(zone: str, sweep_at: str) -> None:
    feed = a_feed(time_zone=zone, sweep_at=sweep_at)
    now, swept, days = utc("2026-01-01T12:00"), None, list[datetime]()
    while now < utc("2027-01-01T12:00"):
        if start := schedule.due_start(feed, swept, now):
            swept = start
            days.append(start)
        now += timedelta(hours=3)
    assert [start.astimezone(ZoneInfo(zone)).date() for start in days] == [
        days[0].astimezone(ZoneInfo(zone)).date() + timedelta(days=number) for number in range(len(days))
    ]
    assert len(days) in (365, 366)
    assert all(timedelta(hours=22) < later - earlier < timedelta(hours=26) for earlier, later in pairwise(days))


@given(
    st.integers(0, 20 * 365 * 24 * 60).map(lambda minutes: utc("2010-01-01T00:00") + timedelta(minutes=minutes)),
    st.sampled_from(ZONES),
    st.times(),
)
def test_no_sweep_is_due_after_one_was_finished_until_a_day_later(now: datetime, zone: str, at: time) -> None:
    feed = a_feed(time_zone=zone, sweep_at=f"{at.hour:02}:{at.minute:02}")
    start = schedule.due_start(feed, None, now)
    assert start is not None
    assert now - timedelta(hours=26) < start <= now
    assert schedule.due_start(feed, start, now) is None
    assert schedule.due_start(feed, start, now + timedelta(hours=26)) is not None


def test_listings_are_spread_evenly_over_the_hours_of_a_sweep_in_the_same_way_each_time() -> None:
    feed = a_feed(sweep_hours=4.0)
    slots = [schedule.slot(feed, f"C{number}", NOW) for number in range(4_000)]
    assert slots == [schedule.slot(feed, f"C{number}", NOW) for number in range(4_000)]
    quarters = [sum(after(3_600 * hour) <= slot < after(3_600 * (hour + 1)) for slot in slots) for hour in range(4)]
    assert sum(quarters) == 4_000
    assert min(quarters) > 850
    assert schedule.slot(a_feed(sweep_hours=0.0), "C1", NOW) == NOW
