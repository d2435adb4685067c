"""How fast each feed's photos are finished, as the scheduler measures it: one record a feed, for whoever estimates."""

from typing import Protocol

from shared.domain.throughput import Throughput


class Throughputs(Protocol):
    """The collection of paces."""

    async def put(self, feed: str, throughput: Throughput) -> None:
        """Record what was measured last."""

    async def get(self, feed: str) -> Throughput | None:
        """Return what was measured last, or None."""


class MemoryThroughputs:
    """The paces in a dictionary."""

    def __init__(self) -> None:
        self._paces: dict[str, Throughput] = {}

    async def put(self, feed: str, throughput: Throughput) -> None:
        """Record what was measured last."""
        self._paces[feed] = throughput

    async def get(self, feed: str) -> Throughput | None:
        """Return what was measured last, or None."""
        return self._paces.get(feed)
