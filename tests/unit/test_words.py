"""Times, durations and sizes as operators type and read them."""

from datetime import timedelta
from pathlib import Path

import pytest

from ops import export, words
from shared.events.records import Record
from tests.builders import NOW, after


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1.5 d", 129_600), (" 1w ", 604_800)]
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert words.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "0h", "-2h", "2 years", "1e9d"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        words.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", 0),
        ("2h", -7_200),
        ("2026-11-23T09:00", 0),
        ("2026-11-23T10:00:01+01:00", 1),
        ("2026-11-23", -9 * 3_600),
    ],
)
def test_a_time_is_read_in_utc_or_as_how_long_ago(text: str, seconds: float) -> None:
    assert words.parse_time(text, NOW) == after(seconds)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "9999999999w"])
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        words.parse_time(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "unknown"), (0, "0 s"), (119, "119 s"), (120, "2.0 min"), (86_400 * 3, "3.0 d")]
)
def test_a_duration_has_the_unit_that_fits(seconds: float | None, text: str) -> None:
    assert words.duration_text(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(None, "unknown bytes"), (999, "999 bytes"), (2_500_000, "2.5 MB")])
def test_a_size_has_the_unit_that_fits(count: int | None, text: str) -> None:
    assert words.size_text(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 copies are"), (1, "1 copy is"), (2, "2 copies are"), (1_000, "1,000 copies are")]
)
def test_a_count_of_one_is_in_the_singular(count: int, text: str) -> None:
    assert words.counted(count, "copy is", "copies are") == text


def test_most_words_only_take_an_s() -> None:
    assert [words.counted(count, "listing") for count in (1, 2)] == ["1 listing", "2 listings"]


async def test_exported_records_are_read_back_byte_for_byte(tmp_path: Path) -> None:
    found = [
        Record("t", 4, 17, NOW, b"X1", b'{"a": "\xc3\xa9"}'),
        Record("t", 4, 18, NOW, None, None),
        Record("t", 5, 1, NOW, b"\xff", b"\x00\xfe\n"),
        Record("t", 5, 2, NOW, b"", b""),
    ]
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"".join(map(export.to_line, found)))
    source = export.from_file(file)
    back = [record async for records in source.read(source.ranges) for record in records]
    assert [(record.key, record.value, record.at) for record in back] == [
        (record.key, record.value, record.at) for record in found
    ]
    assert source.size == 4
