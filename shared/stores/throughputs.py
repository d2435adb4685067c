"""The last measured throughput of each feed. The scheduler measures; estimates of waiting times read it."""

from typing import Protocol

from shared.domain.throughput import Throughput


class Throughputs(Protocol):
    """Stores the latest throughput of each feed."""

    async def put(self, feed: str, throughput: Throughput) -> None:
        """Store the feed's latest throughput in place of the previous one. Raises StoreUnavailable."""

    async def get(self, feed: str) -> Throughput | None:
        """Return the feed's latest throughput, or None if none was measured yet. Raises StoreUnavailable."""
