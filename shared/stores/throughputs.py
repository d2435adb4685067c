"""The last measured throughput of each feed. The scheduler measures it; estimates of waiting times use it."""

from typing import Protocol

from shared.domain.throughput import Throughput


class Throughputs(Protocol):
    """Stores the latest measured throughput of each feed.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def put(self, feed: str, throughput: Throughput) -> None:
        """Store the throughput of `feed` in place of the stored one. Raises StoreUnavailable."""

    async def get(self, feed: str) -> Throughput | None:
        """Return the stored throughput of `feed`; None if none is stored yet. Raises StoreUnavailable."""
