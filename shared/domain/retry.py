"""When is a photo tried again after a failed attempt?"""

from datetime import datetime, timedelta

from shared.domain.failures import POLICIES, Failure, Then
from shared.domain.feed import Feed

GIVEN_UP_FOR = timedelta(days=1)
"""A photo that was given up is tried again after a day, or when the MLS announces something newer."""


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
