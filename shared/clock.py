"""What time is it? Shells ask here, rules are told."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return now in UTC, to the millisecond, so that what is read back from a store is equal."""
    return to_millisecond(datetime.now(UTC))


def to_millisecond(moment: datetime) -> datetime:
    """Cut a time to what MongoDB keeps of it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
