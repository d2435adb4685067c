"""When is a photo attempted again after a failure? The feed's rules and the origin's Retry-After decide."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from shared.domain.failures import REASONS, Failure
from shared.domain.feed import Feed

GIVEN_UP_FOR = timedelta(days=1)
"""How long a photo stays given up, unless the MLS announces something newer before."""
_MAX_LATE_WAIT_SECONDS = 300.0
"""The longest wait for a photo that may still come to its origin."""
_MAX_RETRY_AFTER_SECONDS = 86_400.0
_MIN_EPOCH, _MIN_EPOCH_MILLIS = 1e9, 1e11
"""Numbers from these on are times: seconds or milliseconds since 1970."""


def is_given_up(failure: Failure, attempts: int, feed: Feed) -> bool:
    """Return True if a photo is given up after this failure; `attempts` is its number of failed attempts in a row.

    A photo that is given up gets no attempt until the MLS announces a newer version or a day (`GIVEN_UP_FOR`) has
    passed. A photo that may still be on its way to the origin (`Failure.may_come`) is not given up.
    """
    if failure.may_come:
        return False
    return REASONS[failure.reason].is_final or attempts >= feed.max_attempts


def next_attempt(failure: Failure, attempts: int, feed: Feed, now: datetime, jitter: float) -> datetime:
    """Return when a photo is due again after this failure of an attempt that ended at `now`.

    `attempts` is the photo's number of failed attempts in a row, this one included. The wait starts at the feed's
    `retry_base_seconds` and doubles with each attempt, up to `retry_max_seconds`. It is at least as long as the origin
    asked for. For a photo that may still be on its way to the origin (`Failure.may_come`), it is at most five minutes.
    `jitter`, a random number from 0 to 1, makes the wait up to half longer, so that photos that failed together are
    attempted at different times. A photo that is given up is due in a day, whatever the origin asked for.
    """
    if is_given_up(failure, attempts, feed):
        return now + GIVEN_UP_FOR
    doubled = feed.retry_base_seconds * 2.0 ** min(attempts - 1, 60)
    longest = feed.retry_max_seconds
    if failure.may_come:
        longest = min(longest, _MAX_LATE_WAIT_SECONDS)
    wait = min(doubled, longest) * (1 + jitter / 2)
    return now + timedelta(seconds=max(wait, failure.wait_seconds or 0.0))


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Parse the value of a Retry-After header (RFC 9110, 10.2.3): a number of seconds or a date.

    Return the seconds from `now`, at most a day; None if the value is neither, or is a time in the past. Some servers
    send milliseconds, or a time in seconds or milliseconds since 1970: a number higher than the seconds of a day is
    read as one of these.
    """
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,100}", value):
        return _seconds(float(value), now)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return min(seconds, _MAX_RETRY_AFTER_SECONDS) if seconds >= 0 else None


def _seconds(number: float, now: datetime) -> float | None:
    """Return the number in a Retry-After header as seconds from `now`, at most a day; None for a time in the past."""
    if number <= _MAX_RETRY_AFTER_SECONDS:
        return number
    if number < _MIN_EPOCH:
        return min(number / 1_000, _MAX_RETRY_AFTER_SECONDS)
    wait = (number / 1_000 if number >= _MIN_EPOCH_MILLIS else number) - now.timestamp()
    return min(wait, _MAX_RETRY_AFTER_SECONDS) if wait >= 0 else None
