"""The store's time, computed from this process's monotonic clock, so that all workers plan by the same time."""

from collections.abc import Callable
from datetime import UTC, datetime

_DRIFT = 2e-4
"""By how many seconds two clocks may drift apart in a second: more than any quartz clock does."""
_KNOWN_WITHIN_SECONDS = 1.0
"""The largest distance of the bounds at which requests may be planned."""
_STORE_RESOLUTION_SECONDS = 0.001


class SharedClock:
    """A clock that shows the store's time, and so the same time in all workers, whatever their machines' clocks show.

    Each reading of the store's time gives a lower and an upper bound for the difference between the store's clock and
    this process's monotonic clock. The bounds that fit all readings are narrower than those of a single reading.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Create a clock that does not know the time yet. `monotonic` is this process's monotonic clock, in seconds."""
        self._monotonic = monotonic
        self._low, self._high = float("-inf"), float("inf")
        self._learned = monotonic()

    def learn(self, before: float, after: float, store_time: datetime) -> None:
        """Narrow the bounds by a reading of the store's time: `store_time`, rounded down to the millisecond.

        `before` and `after` are the monotonic clock's times, in seconds, just before and just after the reading. If no
        difference between the two clocks fits all readings, the store's clock was set, or another server answers. The
        bounds are then those of this reading alone.
        """
        low, high = store_time.timestamp() - after, store_time.timestamp() + _STORE_RESOLUTION_SECONDS - before
        drifted = _DRIFT * max(0.0, after - self._learned)
        self._low, self._high = max(low, self._low - drifted), min(high, self._high + drifted)
        if self._low > self._high:
            self._low, self._high = low, high
        self._learned = after

    @property
    def is_known(self) -> bool:
        """True if the bounds are at most a second apart, so that requests can be planned by this clock."""
        return self._high - self._low <= _KNOWN_WITHIN_SECONDS

    def now(self) -> datetime:
        """Return the store's time now, in UTC, by the middle of the bounds. Call `learn` at least once before."""
        return datetime.fromtimestamp(self._monotonic() + (self._low + self._high) / 2, UTC)
