"""What time is it? Shells ask here, rules are told."""

from collections.abc import Callable
from datetime import UTC, datetime

from shared.domain.freshness import to_millisecond

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return now in UTC, to the millisecond, so that what is read back from a store is equal."""
    return to_millisecond(datetime.now(UTC))
