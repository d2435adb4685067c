"""When is it tried again after a failed attempt: by our rules, and by what the origin asks for?"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from shared.domain.failures import POLICIES, Failure, Then
from shared.domain.feed import Feed

GIVEN_UP_FOR = timedelta(days=1)
"""A photo that was given up is tried again after a day, or when the MLS announces something newer."""
_LONGEST_RETRY_AFTER = 86_400.0


def is_given_up(failure: Failure, attempts: int, feed: Feed) -> bool:
    """Whether no attempt is left until something newer is announced or a day has passed."""
    return POLICIES[failure.reason].then is Then.FINAL or attempts >= feed.max_attempts


def next_attempt(failure: Failure, attempts: int, feed: Feed, now: datetime, jitter: float) -> datetime:
    """Return when to try again after `attempts` attempts, the last of which failed.

    `jitter` in 0…1 spreads photos that failed together over half of the wait, so that they do not return together.
    """
    if is_given_up(failure, attempts, feed):
        return now + GIVEN_UP_FOR
    doubled = feed.retry_base_seconds * 2.0 ** min(attempts - 1, 60)
    wait = min(doubled, feed.retry_max_seconds) * (1 + jitter / 2)
    return now + timedelta(seconds=max(wait, failure.wait_seconds or 0.0))


def retry_after(value: str, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date, as seconds from now, at most a day; None where it says nothing."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,100}", value):
        return min(float(value), _LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return min(seconds, _LONGEST_RETRY_AFTER) if seconds >= 0 else None
