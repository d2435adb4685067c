"""The store's time, computed from this process's monotonic clock, so that all workers plan by the same time."""

from collections.abc import Callable
from datetime import UTC, datetime

_DRIFT = 2e-4
"""By how many seconds two clocks may drift apart in a second: more than any quartz clock does."""
_KNOWN_WITHIN_SECONDS = 1.0
"""The largest distance of the bounds at which requests may be planned."""
_STORE_RESOLUTION_SECONDS = 0.001


class SharedClock:
    """A clock that shows the store's time, the same in each worker whatever the clock of the worker's machine shows.

    Each reading of the store's time sets a lower and an upper bound for the difference between the store's clock and
    this process's monotonic clock. The bounds that fit all readings are narrower than those of a single reading.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Start without a known time. `monotonic` is this process's monotonic clock, in seconds."""
        self._monotonic = monotonic
        self._low, self._high = float("-inf"), float("inf")
        self._learned = monotonic()

    def learn(self, before: float, after: float, store_time: datetime) -> None:
        """Narrow the bounds with a reading of the store's time, `store_time`, which is cut to the millisecond.

        `before` and `after` are the times of the monotonic clock, in seconds, between which the store's time was read.
        If no difference of the clocks fits all readings, the store's clock was set, or another server answers: then the
        bounds are those of this reading alone.
        """
        low, high = store_time.timestamp() - after, store_time.timestamp() + _STORE_RESOLUTION_SECONDS - before
        drifted = _DRIFT * max(0.0, after - self._learned)
        self._low, self._high = max(low, self._low - drifted), min(high, self._high + drifted)
        if self._low > self._high:
            self._low, self._high = low, high
        self._learned = after

    @property
    def is_known(self) -> bool:
        """True if the bounds are at most a second apart, which is narrow enough to plan requests by this clock."""
        return self._high - self._low <= _KNOWN_WITHIN_SECONDS

    def now(self) -> datetime:
        """Return the store's time now, in UTC: halfway between the bounds. `learn` must have been called before."""
        return datetime.fromtimestamp(self._monotonic() + (self._low + self._high) / 2, UTC)
