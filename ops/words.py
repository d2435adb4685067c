"""Times, durations and sizes as people say them, and as they type them."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")
_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def duration(text: str) -> timedelta:
    """Read a duration such as 90s, 30m, 2h, 1.5d or 1w. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise ValueError(f"{text!r} is not a duration; write one as 90s, 30m, 2h or 3d")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def moment(text: str, now: datetime) -> datetime:
    """Read a time: ISO 8601 (UTC without a zone), `now`, or how long ago, as 2h. Raises ValueError."""
    if text.strip() == "now":
        return now
    try:
        return now - duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time; write 2026-11-23T09:00 (UTC), or how long ago, as 90m, 2h or 3d"
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def lasting(seconds: float | None) -> str:
    """Say how long, in the unit that fits."""
    if seconds is None:
        return "unknown"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def size(count: int | None) -> str:
    """Say how many bytes, in the unit that fits."""
    if count is None:
        return "unknown bytes"
    for unit, one in _SIZES:
        if count >= one:
            return f"{count / one:,.1f} {unit}"
    return many(count, "byte")


def many(count: int, one: str, more: str = "") -> str:
    """Say how many there are of something; `more` is what more than one, or none, are called where no s does it."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"
