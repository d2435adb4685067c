"""Times, durations, sizes and counts as operators read and type them."""

import re
from datetime import UTC, datetime, timedelta

_UNIT_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")
_SIZE_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_LONG_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))
"""The units of time for durations of two such units or more; shorter durations are in seconds."""


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text such as 90s, 30m, 2h, 1.5d or 1w names.

    Raises ValueError with a sentence for the operator if the text names no duration, or a duration of zero.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise ValueError(f"{text!r} is not a duration; write one as 90s, 30m, 2h or 3d")
    return timedelta(seconds=float(match[1]) * _UNIT_SECONDS[match[2]])


def parse_time(text: str, now: datetime) -> datetime:
    """Return the time that a text names, in UTC: ISO 8601, `now`, or how long ago, such as 2h.

    A time of ISO 8601 without a zone is in UTC. Raises ValueError with a sentence for the operator.
    """
    if text.strip() == "now":
        return now
    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time; write 2026-11-23T09:00 (UTC), or how long ago, as 90m, 2h or 3d"
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def duration_text(seconds: float | None) -> str:
    """Return a number of seconds as a duration with a unit, such as `90 s` or `2.5 h`; `unknown` for None. Pure."""
    if seconds is None:
        return "unknown"
    for unit, length in _LONG_UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def distance_text(time: datetime, now: datetime) -> str:
    """Return how far a time is from `now`, such as `in 2 h` or `5 min ago`. Pure."""
    seconds = (time - now).total_seconds()
    unit, length = next(((unit, length) for unit, length in _LONG_UNITS if abs(seconds) >= 2 * length), ("s", 1))
    distance = f"{abs(seconds) / length:.0f} {unit}"
    return f"in {distance}" if seconds > 0 else f"{distance} ago"


def size_text(size_bytes: int | None) -> str:
    """Return a number of bytes in the unit that fits, such as `2.5 MB`; `unknown bytes` for None. Pure."""
    if size_bytes is None:
        return "unknown bytes"
    for unit, length in _SIZE_UNITS:
        if size_bytes >= length:
            return f"{size_bytes / length:,.1f} {unit}"
    return counted(size_bytes, "byte")


def counted(count: int, singular: str, plural: str = "") -> str:
    """Return a count with its noun, such as `1 listing` or `2 copies`. Pure.

    Without `plural`, the plural is `singular` with an s.
    """
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"
