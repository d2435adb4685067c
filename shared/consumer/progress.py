"""Detects a consumer that stands still although it has work, by the records that it finishes. Pure.

The state of its connection is no sign: a connection may be up while nothing is received.
"""

from dataclasses import dataclass

STUCK_SECONDS = 600.0
"""Longer than the slowest batch: requests may take 300 s by `feeds.toml`, then a picture 90 s."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a consumer in one topic, as last observed.

    `finished` is how many records the consumer has finished since its start. `moved_at` is the time, in monotonic
    seconds, at which the consumer was last observed not to stand still.
    """

    finished: int
    moved_at: float

    def observed(self, finished: int, *, has_work: bool, is_waiting: bool, now: float) -> "Progress":
        """Return the progress after another observation at `now` (monotonic seconds).

        A consumer stands still if it has work and finished no record since the observation before. While it waits for a
        store or for Kafka (`is_waiting`), it does not count as standing still.
        """
        stands_still = finished == self.finished and has_work and not is_waiting
        return Progress(finished, self.moved_at if stands_still else now)

    def is_stuck(self, now: float) -> bool:
        """Return True if the consumer has stood still for more than STUCK_SECONDS."""
        return now - self.moved_at > STUCK_SECONDS
