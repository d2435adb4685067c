"""What is the store's time now? Told from this process's monotonic clock, so that all workers know the same time."""

from collections.abc import Callable
from datetime import UTC, datetime

_DRIFT = 2e-4
"""Seconds a second by which two clocks may part: above what any quartz does."""
_KNOWN_WITHIN_SECONDS = 1.0
"""Nothing is planned by a time that is known less exactly."""
_STORE_RESOLUTION_SECONDS = 0.001


class SharedClock:
    """The store's time, the same in every worker however its own clock is set.

    Each reading says that the store's time lies between two bounds; the bounds of all readings together are narrow.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Take a monotonic clock, in seconds."""
        self._monotonic = monotonic
        self._low, self._high = float("-inf"), float("inf")
        self._learned = monotonic()

    def learn(self, before: float, after: float, store_time: datetime) -> None:
        """Take in a reading: the store told its time, cut to the millisecond, between two times of the monotonic clock.

        This narrows the bounds. If no time fits all readings, the store's clock was set or another server answers: the
        reading alone counts then.
        """
        low, high = store_time.timestamp() - after, store_time.timestamp() + _STORE_RESOLUTION_SECONDS - before
        drifted = _DRIFT * max(0.0, after - self._learned)
        self._low, self._high = max(low, self._low - drifted), min(high, self._high + drifted)
        if self._low > self._high:
            self._low, self._high = low, high
        self._learned = after

    @property
    def is_known(self) -> bool:
        """True if the bounds are narrow enough to plan by: after a day without a prompt answer they are not."""
        return self._high - self._low <= _KNOWN_WITHIN_SECONDS

    def now(self) -> datetime:
        """Return the store's time. Only after the first `learn`."""
        return datetime.fromtimestamp(self._monotonic() + (self._low + self._high) / 2, UTC)
