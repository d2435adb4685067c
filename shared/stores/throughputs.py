"""How fast each feed's photos are finished: one record a feed, measured by the scheduler, read by all who estimate."""

from typing import Protocol

from shared.domain.throughput import Throughput


class Throughputs(Protocol):
    """The latest throughput of each feed."""

    async def put(self, feed: str, throughput: Throughput) -> None:
        """Record the feed's latest measurement in place of the one before. Raises StoreUnavailable."""

    async def get(self, feed: str) -> Throughput | None:
        """Return the feed's latest measurement, or None if there was none yet. Raises StoreUnavailable."""
