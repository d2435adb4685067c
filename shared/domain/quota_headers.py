"""What do the headers of an API's answer say about its limits? Reads those of the vendors in docs/mls-vendors.md.

Trestle sends `Minute-Quota-…` and `Hour-Quota-…`, Bridge `Burst-RateLimit-…` and `Application-RateLimit-…`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

_MINUTE, _HOUR = 60.0, 3_600.0
_FAMILIES = (
    ("Minute-Quota", _MINUTE),
    ("Burst-RateLimit", _MINUTE),
    ("Hour-Quota", _HOUR),
    ("Application-RateLimit", _HOUR),
    ("X-RateLimit", None),
    ("RateLimit", None),
)
"""How the names of headers of a limit begin, and the seconds that the limit counts; None if that is unknown."""
_MIN_EPOCH, _MIN_EPOCH_MILLIS = 1e9, 1e11
"""Numbers from these on are times: seconds or milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class ReportedLimits:
    """The limits that the headers of an API's answer report. A limit that they do not report is None.

    `per_minute` and `per_hour` are numbers of requests.
    """

    per_minute: float | None = None
    per_hour: float | None = None
    wait_seconds: float | None = None
    """For how long no more requests are allowed; None if some are left."""

    def merged(self, newer: "ReportedLimits") -> "ReportedLimits":
        """Return the limits of the `newer` answer, and those of this object that the newer answer does not report.

        `wait_seconds` is always the newer one.
        """
        return ReportedLimits(newer.per_minute or self.per_minute, newer.per_hour or self.per_hour, newer.wait_seconds)


def read(headers: Mapping[str, str], now: datetime) -> ReportedLimits:
    """Return the limits that an API's answer reports in its headers.

    `headers` are the values by the headers' names, in upper or lower case. `now` is the time of the answer.
    """
    values = {name.lower(): value for name, value in headers.items()}
    limits: dict[float | None, float] = {}
    waits: list[float] = []
    for family, window in _FAMILIES:
        limit = _number(values, f"{family}-Limit")
        if window and limit and limit >= 1:
            limits[window] = min(limit, limits.get(window, limit))
        remaining = _number(values, f"{family}-Remaining", f"{family}-Available")
        if remaining is not None and remaining < 1:
            reset = _number(values, f"{family}-Reset", f"{family}-ResetTime")
            waits.append(_wait(reset, window or _HOUR, now))
    return ReportedLimits(limits.get(_MINUTE), limits.get(_HOUR), max(waits, default=None))


def _number(values: Mapping[str, str], *names: str) -> float | None:
    for name in names:
        try:
            number = float(values.get(name.lower(), ""))
        except ValueError:
            continue
        if isfinite(number):
            return number
    return None


def _wait(reset: float | None, window: float, now: datetime) -> float:
    """Return for how many seconds to send no request after a limit is used up: until `reset`, at most `window` seconds.

    `reset` is what the header says: a number of seconds, or a time in seconds or milliseconds since 1970. If it is None
    or in the past, return a minute.
    """
    if reset is None:
        return _MINUTE
    if reset >= _MIN_EPOCH:
        seconds = reset / 1_000 if reset >= _MIN_EPOCH_MILLIS else reset
        reset = seconds - now.timestamp()
    return min(reset, window) if reset > 0 else _MINUTE
