"""When did something change, by the MLS's clock? Reads times in the notations that MLSs use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_EPOCH_UNITS = ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000))
"""Numbers below each limit, but not below the limit before, are seconds, milliseconds or microseconds since 1970."""
_FIRST_EPOCH_SECOND = 3e8
_FIRST_YEAR = 1971
"""Times before this year stand for "never": MLSs write the zero of their database, such as 0001-01-01."""
_DATE_CALL = re.compile(r"/?DATE\((-?\d+)(?:[+-]\d{4})?\)/?")
_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_COMPACT = re.compile(r"(?:19|20)\d{6}(?:\d{4}|\d{6})?")
_NEVER = re.compile(r"0000-00-00\D?[0:.]*Z?|0+")
_MONTHS_A_YEAR = 12
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NAMED_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")[A-Z]*"
_NAMED = re.compile(
    rf"(?:[A-Z]+,?\s+)?(?:(?P<day>[0-9]{{1,2}})[-\s]+{_NAMED_MONTH}|{_NAMED_MONTH.replace('month', 'month2')}"
    r"\.?\s+(?P<day2>[0-9]{1,2})),?[-\s]+(?P<year>[0-9]{4})"
)
"""A date with the month's name, such as "20-Nov-2026", "Nov 20, 2026" or "Fri, 20 Nov 2026"."""
_SPACED_ZONE = re.compile(r"\s+(?=(?:[+-]\d\d:?\d\d|Z)$)")
_NAMED_UTC = re.compile(r"\s*(?:UTC|GMT)$")
_NUMERIC = re.compile(
    r"(?P<a>\d{1,4})(?P<separator>[/.-])(?P<b>\d{1,2})(?P=separator)(?P<c>\d{1,4})"
    r"(?:[,T\s]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?P<fraction>\.\d+)?)?"
    r"\s*(?P<half>[AP])?\.?M?\.?)?\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?"
)


@dataclass(frozen=True, slots=True)
class TimeRules:
    """How to read those times of an MLS that can be read in several ways."""

    zone: str = "UTC"
    """The IANA name of the time zone of times without one."""
    day_first: bool = False
    """True if the MLS writes day/month/year, False for month/day/year. A number above 12 is never a month."""
    hides: bool = False
    """True if the times are of a record that hides its listing.

    A local time in the hour that comes twice has two meanings. The later is taken if the record hides its listing, else
    the earlier: a wrong reading then hides a listing too long, and never shows it too long.
    """


def read_time(value: object, rules: TimeRules) -> datetime | None:
    """Return the time in a field of a property record, in UTC; None if the field is null or empty, or means "never".

    A time before 1971, such as 0001-01-01, means "never". These notations are read: ISO 8601; `/Date(…)/`; numbers in
    seconds, milliseconds or microseconds since 1970; dates of digits alone; month/day/year or day/month/year, with or
    without AM and PM; year/month/day; and dates with the month's name. Raises ValueError if the value has none of
    these.
    """
    time = _iso(value) if isinstance(value, str) else None
    if time is not None and time.tzinfo is UTC and time.year >= _FIRST_YEAR:
        return time  # nearly all
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"a time must be a text or a number, not {type(value).__name__}")  # noqa: TRY004
    try:
        time = _in_utc(time or _parse(_words(value), rules), rules)
    except OverflowError:
        raise ValueError("a time must lie between the years 1 and 9999") from None
    return time if time.year >= _FIRST_YEAR else None


def _words(value: str | float) -> str:
    """Return a text in upper case without blanks around it; for a number, its digits."""
    if isinstance(value, str):
        return value.strip().upper()
    return str(value) if isinstance(value, int) else format(value, "f")


def _in_utc(time: datetime, rules: TimeRules) -> datetime:
    if time.tzinfo is None:
        time = time.replace(tzinfo=_zone(rules.zone), fold=int(rules.hides))
    return time.astimezone(UTC)


def _iso(words: str) -> datetime | None:
    try:
        return datetime.fromisoformat(words)
    except ValueError:
        return None


def _parse(words: str, rules: TimeRules) -> datetime:
    """Return the time in a text in upper case, read by all notations; it has a zone only if the text names one."""
    if iso := _iso(words):
        return iso
    if _NEVER.fullmatch(words):
        return datetime.min.replace(tzinfo=UTC)
    if call := _DATE_CALL.fullmatch(words):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(call[1]))
    if _DIGITS.fullmatch(words):
        return _of_digits(words.partition(".")[0])
    words = _NAMED.sub(_with_number, _SPACED_ZONE.sub("", _NAMED_UTC.sub("Z", words)), count=1)
    if numeric := _NUMERIC.fullmatch(words):
        return _of_numbers(numeric.groupdict(), rules)
    return datetime.fromisoformat(words)


def _with_number(date: re.Match[str]) -> str:
    """Return the matched date, which has the month's name, as year/month/day in numbers."""
    month = _MONTHS.index(date["month"] or date["month2"]) + 1
    return f"{date['year']}/{month}/{date['day'] or date['day2']}"


def _of_digits(digits: str) -> datetime:
    if _COMPACT.fullmatch(digits):
        padded = digits.ljust(14, "0")
        return datetime.strptime(padded, "%Y%m%d%H%M%S")  # noqa: DTZ007 - the caller adds the zone
    number = int(digits)
    if number >= _FIRST_EPOCH_SECOND:
        for limit, unit in _EPOCH_UNITS:
            if number < limit:
                return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number / unit)
    raise ValueError("a number must count from 1970, in seconds, milliseconds or microseconds")


def _of_numbers(parts: Mapping[str, str | None], rules: TimeRules) -> datetime:
    first, second, third = (int(parts[name] or 0) for name in "abc")
    if len(parts["a"] or "") == 4:
        year, month, day = first, second, third
    elif first > _MONTHS_A_YEAR or ((rules.day_first or parts["separator"] == ".") and second <= _MONTHS_A_YEAR):
        day, month, year = first, second, third
    else:
        month, day, year = first, second, third
    hour = int(parts["hour"] or 0)
    if parts["half"]:
        hour = hour % 12 + 12 * (parts["half"] == "P")
    fraction = int(((parts["fraction"] or ".0")[1:] + "00000")[:6])
    time = datetime(  # noqa: DTZ001 - the caller adds the zone
        year + 2000 * (year < 100),
        month,
        day,
        hour,
        int(parts["minute"] or 0),
        int(parts["second"] or 0),
        fraction,
    )
    zone = parts["zone"]
    return time if zone is None else datetime.fromisoformat(f"{time.isoformat()}{zone}")


@lru_cache(maxsize=100)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
