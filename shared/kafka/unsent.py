"""Measures how long a process's records have been waiting for Kafka to store them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FAILURE_SECONDS = 60.0
"""How long a refused record counts as waiting if no other follows: by then, its publisher has given it up."""


class UnsentRecords:
    """Measures how long the oldest record of a process has been waiting for Kafka to store it.

    `monotonic` returns a time in seconds that never goes back; tests replace it.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._sending: list[float] = []
        self._failing_since = 0.0
        self._failed_at: float | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the records that the context publishes as waiting; the context ends once Kafka has stored them.

        If the context ends with an error, the records still count as waiting, because their publisher will try again.
        They do until any record is stored, or for FAILURE_SECONDS.
        """
        began = self._monotonic()
        self._sending.append(began)
        try:
            yield
        except BaseException:
            if not self._is_failing:
                self._failing_since = began
            self._failed_at = self._monotonic()
            raise
        else:
            self._failed_at = None
        finally:
            self._sending.remove(began)

    @property
    def oldest_seconds(self) -> float:
        """For how many seconds the oldest waiting record has waited; 0 if none waits."""
        waiting = [*self._sending, *([self._failing_since] if self._is_failing else [])]
        now = self._monotonic()
        return now - min(waiting, default=now)

    @property
    def _is_failing(self) -> bool:
        return self._failed_at is not None and self._monotonic() - self._failed_at <= FAILURE_SECONDS
