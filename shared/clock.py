"""What time is it? Shells ask here, rules are told."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return now in UTC, cut to the millisecond that MongoDB keeps, so that what is read back is equal."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
