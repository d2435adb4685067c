"""The release window: how many photos of a feed may be in flight, as many as are finished in a few seconds. No I/O."""

from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil

from shared.domain.feed import Feed
from shared.domain.throughput import allowed_per_second

SECONDS_AHEAD = 4.0
"""Seconds of work in flight: downloaders never wait for a release, and a more urgent photo waits only seconds."""
_AVERAGED_SECONDS = 10.0
_GROWTH = 1.25
"""By how much the throughput grows if downloaders ran out of photos. More would be over five seconds of work."""
_MAX_SIZE = 2_000


@dataclass(frozen=True, slots=True)
class Window:
    """Holds the release window of one feed: what was observed up to `at`, from which its size is computed.

    `in_flight` is how many photos of the feed were in flight at `at`; `finished_per_second` is the averaged throughput.
    A window is never changed: a method that observes something returns a new window.
    """

    at: datetime
    in_flight: int = 0
    finished_per_second: float = 0.0
    observed_seconds: float = 0.0
    """For how many seconds photos have been in flight: the throughput of the first seconds is no reliable measure."""

    def capacity(self, feed: Feed) -> int:
        """Return how many more photos of the feed may be released now; 0 if the release window is full."""
        return max(0, self.size(feed) - self.in_flight)

    def size(self, feed: Feed) -> int:
        """Return how many photos of the feed may be in flight at a time, those that are in flight now included.

        That is as many as are downloaded at a time, plus as many as are finished in SECONDS_AHEAD at the measured
        throughput. In the first ten seconds with photos in flight, it is at least four batches, so that the throughput
        can be measured. It is never more than the feed's limits let finish in SECONDS_AHEAD, since further photos would
        be deferred. If pauses between batches limit the feed, one more batch is added, so that this batch is in flight
        when a pause ends.
        """
        downloading = max(feed.concurrency, feed.batch_size)
        size = downloading + ceil(min(self.finished_per_second, _MAX_SIZE) * SECONDS_AHEAD)
        if self.observed_seconds < _AVERAGED_SECONDS:
            size = max(size, 4 * feed.batch_size)
        allowed = min(allowed_per_second(feed), _MAX_SIZE)
        next_batch = feed.batch_size if allowed * feed.batch_pause_seconds == feed.batch_size else 0
        return min(size, max(1, next_batch + ceil(allowed * SECONDS_AHEAD)), _MAX_SIZE)

    def observed(self, in_flight: int, now: datetime, feed: Feed) -> "Window":
        """Return a new window with the throughput averaged anew; called when `in_flight` photos were counted at `now`.

        If fewer photos are in flight than before, the difference counts as finished since `at`. If none was in flight
        before, or no time has passed, only `at` and `in_flight` change. If the window was full and no photo is in
        flight now, the throughput grows by a quarter, because downloaders had to wait and might have finished more.
        """
        seconds = (now - self.at).total_seconds()
        if seconds <= 0 or self.in_flight == 0:
            return replace(self, at=now, in_flight=in_flight)
        rate, observed = max(0, self.in_flight - in_flight) / seconds, self.observed_seconds + seconds
        if in_flight == 0 and self.capacity(feed) == 0:
            # A full window ran empty: downloaders had to wait, and might have finished more.
            return Window(now, in_flight, min(_MAX_SIZE, max(rate, self.finished_per_second) * _GROWTH), observed)
        weight = seconds / min(max(_AVERAGED_SECONDS, seconds), observed)
        average = self.finished_per_second + weight * (rate - self.finished_per_second)
        return Window(now, in_flight, average, observed)

    def released(self, photos: int) -> "Window":
        """Return a new window with `photos` more photos in flight, which the caller has just released."""
        return replace(self, in_flight=self.in_flight + photos)
