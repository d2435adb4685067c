"""The store's time, derived from this process's monotonic clock: all workers know the same time by it."""

from collections.abc import Callable
from datetime import UTC, datetime

_DRIFT = 2e-4
"""By how many seconds a second two clocks may drift apart: more than any quartz does."""
_KNOWN_WITHIN_SECONDS = 1.0
"""No request is planned by a time that is known less exactly."""
_STORE_RESOLUTION_SECONDS = 0.001


class SharedClock:
    """The store's time, the same in each worker whatever its own clock shows.

    Each reading of the store's time sets a lower and an upper bound for the difference to the monotonic clock. The
    bounds of all readings together are narrow.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Take a monotonic clock that returns seconds."""
        self._monotonic = monotonic
        self._low, self._high = float("-inf"), float("inf")
        self._learned = monotonic()

    def learn(self, before: float, after: float, store_time: datetime) -> None:
        """Narrow the bounds by a reading: the store said that its time is `store_time`, cut to the millisecond.

        It said so between `before` and `after`, two times of the monotonic clock in seconds. If no difference of the
        clocks fits all readings, the store's clock was set or another server answers, and only this reading counts.
        """
        low, high = store_time.timestamp() - after, store_time.timestamp() + _STORE_RESOLUTION_SECONDS - before
        drifted = _DRIFT * max(0.0, after - self._learned)
        self._low, self._high = max(low, self._low - drifted), min(high, self._high + drifted)
        if self._low > self._high:
            self._low, self._high = low, high
        self._learned = after

    @property
    def is_known(self) -> bool:
        """True if the bounds are at most a second apart, which is narrow enough to plan requests by."""
        return self._high - self._low <= _KNOWN_WITHIN_SECONDS

    def now(self) -> datetime:
        """Return the store's time now, in UTC. To be called after the first `learn`."""
        return datetime.fromtimestamp(self._monotonic() + (self._low + self._high) / 2, UTC)
