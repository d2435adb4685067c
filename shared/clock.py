"""The current time, as a function that services pass to their parts and that tests replace.

Rules do not call the function: they get the time as an argument.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time, in UTC."""


def utc_now() -> datetime:
    """Return the current time in UTC, cut to the millisecond, so that it equals the time read back from MongoDB."""
    return to_millisecond(datetime.now(UTC))


def to_millisecond(moment: datetime) -> datetime:
    """Return a time cut (not rounded) to the millisecond, which is the precision of times in MongoDB."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
