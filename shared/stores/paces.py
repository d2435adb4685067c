"""How fast each feed's photos are finished, as the scheduler measures it: one record a feed, for whoever estimates."""

from typing import Protocol

from shared.domain.pace import Pace


class Paces(Protocol):
    """The collection of paces."""

    async def put(self, feed: str, pace: Pace) -> None:
        """Record what was measured last."""

    async def get(self, feed: str) -> Pace | None:
        """Return what was measured last, or None."""


class MemoryPaces:
    """The paces in a dictionary."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    async def put(self, feed: str, pace: Pace) -> None:
        """Record what was measured last."""
        self._paces[feed] = pace

    async def get(self, feed: str) -> Pace | None:
        """Return what was measured last, or None."""
        return self._paces.get(feed)
