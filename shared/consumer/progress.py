"""Detects a consumer that stands still although it has work, by the records that it finishes.

The state of the consumer's connection is no sign: a connection may be up while nothing is received. This module only
computes; its callers read and measure.
"""

from dataclasses import dataclass

STUCK_SECONDS = 600.0
"""Longer than the slowest batch: requests may take 300 s by `feeds.toml`, then a picture 90 s."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a consumer in one topic, as last observed; `observed` returns the next one.

    `finished` is how many records of the topic the consumer has finished since its start. `moved_at` is the last
    observation, in seconds of the monotonic clock, at which the consumer did not stand still.
    """

    finished: int
    moved_at: float

    def observed(self, finished: int, *, has_work: bool, is_waiting: bool, now: float) -> "Progress":
        """Return the progress in this topic after another observation at `now`, in seconds of the monotonic clock.

        `finished` is how many of the topic's records the consumer has finished since its start. `has_work` is True if
        records are unread or in flight. `is_waiting` is True while a batch waits for a store or for Kafka.

        The consumer stands still if it has work, does not wait, and has finished no record since the last observation.
        Then `moved_at` stays as it was; otherwise it becomes `now`.
        """
        stands_still = finished == self.finished and has_work and not is_waiting
        return Progress(finished, self.moved_at if stands_still else now)

    def is_stuck(self, now: float) -> bool:
        """Return True if the consumer has stood still for more than STUCK_SECONDS at `now`.

        `now` is in seconds of the monotonic clock.
        """
        return now - self.moved_at > STUCK_SECONDS
