"""Which of two versions is newer? Tables over both timestamps and the position on the topic."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.freshness import Position, Version, is_newer, is_stale, newest, parse_timestamp
from tests.builders import NOW, after

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.none() | st.integers(0, 2).map(after)


def time(seconds: float | None) -> datetime | None:
    return None if seconds is None else after(seconds)


def version(modified_at: datetime | None, media_changed_at: datetime | None, offset: int | None = None) -> Version:
    position = None if offset is None else Position(NOW, 0, offset)
    return Version(modified_at=modified_at, media_changed_at=media_changed_at, position=position)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (after(1), after(0), True),
        (after(0), after(1), False),
        (after(0), after(0), False),
        (after(0), None, True),
        (None, after(0), False),
        (None, None, False),
    ],
)
def test_a_time_is_newer_than_an_earlier_one_and_than_none(
    now: datetime | None, before: datetime | None, expected: bool
) -> None:
    assert is_newer(now, before) is expected


@pytest.mark.parametrize(
    ("announced", "recorded", "stale"),
    [
        ((1, 1), (0, 0), False),
        ((0, 0), (1, 1), True),
        ((0, 1), (0, 0), False),
        ((1, 0), (0, 0), False),
        ((0, 0), (0, 1), True),
        ((0, 0), (1, 0), True),
        ((1, 0), (0, 1), False),
        ((0, 1), (1, 0), False),
        ((0, None), (1, None), True),
        ((1, None), (0, None), False),
        ((None, 0), (None, 1), True),
        ((None, 1), (None, 0), False),
        ((None, None), (1, 1), False),
        ((1, 1), (None, None), False),
        ((0, None), (0, 1), False),
        ((0, None), (1, 1), True),
        ((None, 0), (1, 1), True),
        ((None, 0), (1, 0), False),
        ((None, 1), (1, 0), False),
    ],
)
def test_a_version_is_stale_if_neither_time_is_newer_and_one_is_older(
    announced: tuple[int | None, int | None], recorded: tuple[int | None, int | None], stale: bool
) -> None:
    (modified, media), (former_modified, former_media) = (map(time, times) for times in (announced, recorded))
    newer, former = version(modified, media, 2), version(former_modified, former_media, 1)
    assert is_stale(newer, former, NOW) is stale


@pytest.mark.parametrize(
    ("announced", "recorded", "stale"),
    [
        (Position(NOW, 0, 2), Position(NOW, 0, 1), False),
        (Position(NOW, 0, 1), Position(NOW, 0, 2), True),
        (Position(NOW, 0, 1), Position(NOW, 0, 1), True),
        (Position(after(1), 0, 1), Position(after(0), 5, 9), False),
        (Position(after(0), 5, 9), Position(after(1), 0, 1), True),
        (Position(after(-1), 0, 2), Position(after(0), 0, 1), False),  # the broker's clock went back
        (Position(after(1), 0, 1), Position(after(0), 0, 2), True),
        (Position(EPOCH, 0, 2), Position(after(0), 0, 1), False),  # a producer without a clock
        (Position(after(6), 0, 1), Position(after(0), 0, 2), False),  # the topic was made anew
        (None, Position(NOW), False),
        (Position(NOW), None, False),
        (None, None, False),
    ],
)
@pytest.mark.parametrize("at", [NOW, None])
def test_with_equal_times_or_none_the_later_position_decides(
    announced: Position | None, recorded: Position | None, stale: bool, at: datetime | None
) -> None:
    ours = Version(modified_at=at, media_changed_at=at, position=announced)
    theirs = Version(modified_at=at, media_changed_at=at, position=recorded)
    assert is_stale(ours, theirs, NOW) is stale


VERSIONS = st.builds(version, TIMES, TIMES, st.none() | st.integers(0, 2))


@given(VERSIONS, VERSIONS)
def test_of_two_versions_at_most_one_is_stale_unless_their_positions_are_equal(first: Version, second: Version) -> None:
    if is_stale(first, second, NOW) and is_stale(second, first, NOW):
        assert first.position == second.position


@given(VERSIONS)
def test_the_same_event_again_is_stale(announced: Version) -> None:
    assert is_stale(announced, announced, NOW) is (announced.position is not None)


@pytest.mark.parametrize(
    ("moments", "expected"),
    [((), None), ((None,), None), ((None, after(1)), after(1)), ((after(2), None, after(1)), after(2))],
)
def test_the_newest_of_several_times(moments: tuple[datetime | None, ...], expected: datetime | None) -> None:
    assert newest(*moments) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23t09:00:00z", NOW),
        ("2026-11-23T09:00:00Z", NOW),
        ("2026-11-23T09:00:00", NOW),
        ("2026-11-23 09:00:00", NOW),
        (" 2026-11-23T09:00:00Z\n", NOW),
        ("2026-11-23T04:00:00-05:00", NOW),
        ("2026-11-23T09:00:00.000Z", NOW),
        ("2026-11-23T09:00:00.5Z", after(0.5)),
        ("2026-11-23T09:00:00.000001Z", after(0.000001)),
        ("2026-11-23T09:00:00.0000019Z", after(0.000001)),
        ("20261123T090000Z", NOW),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_timestamp_is_read_as_utc(text: str | None, expected: datetime | None) -> None:
    found = parse_timestamp(text)
    assert found == expected
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "now",
        "0000-00-00T00:00:00Z",
        "2026-02-30",
        "2026-11-23T25:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "1763888400",
        "\udc80",
        "\uff12\uff10\uff12\uff16-11-23",
        1763888400,
        1.5,
        True,
        [],
        {},
        b"2026-11-23",
        NOW,
    ],
    ids=repr,
)
def test_a_value_that_is_no_timestamp_raises(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_timestamp(value)


@given(st.text() | st.floats() | st.integers() | st.binary())
def test_any_value_is_read_or_refused(value: object) -> None:
    try:
        assert parse_timestamp(value) is not None
    except ValueError:
        return


@given(
    st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),  # noqa: DTZ001 - the zone is drawn apart
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
        lambda offset: timedelta(minutes=offset.seconds // 60)
    ),
)
def test_a_time_in_any_zone_is_read_as_the_same_time(drawn: datetime, offset: timedelta) -> None:
    zoned = drawn.replace(tzinfo=timezone(offset))
    assert parse_timestamp(zoned.isoformat()) == zoned


AHEAD = 86_401.0
"""More than a day, in seconds."""


@pytest.mark.parametrize(
    ("announced", "recorded", "is_later", "hides", "stale"),
    [
        ((AHEAD, None), (0, None), True, False, False),  # the position decides: the announced time counts as missing
        ((AHEAD, None), (0, None), False, False, True),
        ((AHEAD, 0), (0, 1), True, False, True),  # the other time is older
        ((86_400, None), (0, None), False, False, False),  # a day ahead is believed
        ((0, 0), (AHEAD, 0), True, False, False),
        ((0, 0), (AHEAD, 0), False, False, True),
        ((0, 0), (0, AHEAD), False, True, False),  # what hides is never older than a time from the future
        ((0, 0), (86_400, 0), False, True, True),
        ((AHEAD, AHEAD), (AHEAD, AHEAD), True, False, False),
    ],
)
def test_a_time_more_than_a_day_ahead_counts_as_missing(
    announced: tuple[float | None, float | None],
    recorded: tuple[float | None, float | None],
    is_later: bool,
    hides: bool,
    stale: bool,
) -> None:
    (modified, media), (former_modified, former_media) = (map(time, times) for times in (announced, recorded))
    newer, former = version(modified, media, 1 + is_later), version(former_modified, former_media, 1)
    assert is_stale(newer, former, NOW, hides=hides) is stale


def test_a_producer_without_a_clock_takes_no_time_from_its_records() -> None:
    newer = replace(version(after(9), after(9)), position=Position(EPOCH, 0, 1))
    assert not is_stale(newer, version(after(5), after(5), 2), after(9))


def test_a_replay_judges_a_time_by_the_clock_of_the_first_reading() -> None:
    replayed, recorded = version(after(AHEAD), None, 1), version(after(5), None, 2)
    assert is_stale(replayed, recorded, after(10 * AHEAD))
