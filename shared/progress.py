"""Does a consumer stand still? It is told by its progress, for a connection may be up and nothing come of it. Pure."""

from dataclasses import dataclass

STUCK_SECONDS = 600.0
"""Longer than the slowest batch: requests may take 300 s by `feeds.toml`, then a picture 90 s."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many records were finished, and since when (monotonic seconds) that has been so with work there."""

    done: int
    since: float

    def seen(self, done: int, *, has_work: bool, is_waiting: bool, now: float) -> "Progress":
        """Return the progress after looking again; waiting for infrastructure is no standstill of our own."""
        stands_still = done == self.done and has_work and not is_waiting
        return Progress(done, self.since if stands_still else now)

    def is_stuck(self, now: float) -> bool:
        """Whether it has stood still for too long."""
        return now - self.since > STUCK_SECONDS
