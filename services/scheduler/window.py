"""How many photos of a feed may be released and unfinished? A few seconds' worth of what is finished. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil

from shared.domain.feed import Feed
from shared.domain.throughput import allowed_per_second

SECONDS_AHEAD = 4.0
"""Long enough that downloaders never wait for a tick, short enough that a more urgent photo soon has its turn."""
_MEMORY_SECONDS = 10.0
_GROWTH = 1.25
"""Of the pace of downloaders that had nothing left: more than that would be more than five seconds of work."""
_LARGEST = 2_000


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen of a feed up to `at`: photos finished a second, and how many were in work then."""

    at: datetime
    in_work: int = 0
    finished_per_second: float = 0.0
    watched_seconds: float = 0.0
    """For how long there was work; for the first seconds what is measured says little."""

    def room(self, feed: Feed) -> int:
        """How many more photos may be released now."""
        return max(0, self.size(feed) - self.in_work)

    def size(self, feed: Feed) -> int:
        """How many may be in work: what is in hand, and what is finished in a few seconds; at first some to find out.

        More than the feed's rules let pass in that time would only be put back; where they are pauses between batches,
        the next batch must be there when its pause ends.
        """
        in_hand = max(feed.concurrency, feed.batch_size)
        wanted = in_hand + ceil(min(self.finished_per_second, _LARGEST) * SECONDS_AHEAD)
        if self.watched_seconds < _MEMORY_SECONDS:
            wanted = max(wanted, 4 * feed.batch_size)
        passing = min(allowed_per_second(feed), _LARGEST)
        batch = feed.batch_size if passing * feed.batch_pause_seconds == feed.batch_size else 0
        return min(wanted, max(1, batch + ceil(passing * SECONDS_AHEAD)), _LARGEST)

    def observed(self, in_work: int, now: datetime, feed: Feed) -> "Window":
        """Return the window after looking again: what is no longer in work was finished."""
        seconds = (now - self.at).total_seconds()
        if seconds <= 0 or self.in_work == 0:
            return replace(self, at=now, in_work=in_work)
        rate, watched = max(0, self.in_work - in_work) / seconds, self.watched_seconds + seconds
        if in_work == 0 and self.room(feed) == 0:
            # It was full, ran empty, and held the downloaders up: they might have finished more.
            return Window(now, in_work, min(_LARGEST, max(rate, self.finished_per_second) * _GROWTH), watched)
        weight = seconds / min(max(_MEMORY_SECONDS, seconds), watched)
        return Window(now, in_work, self.finished_per_second + weight * (rate - self.finished_per_second), watched)

    def released(self, photos: int) -> "Window":
        """Return the window after so many more were released."""
        return replace(self, in_work=self.in_work + photos)
