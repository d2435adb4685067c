"""Sweeps in memory, for tests."""

from dataclasses import replace

from shared.stores.sweeps import Sweep, SweepRequest


class MemorySweeps:
    """The sweeps in a dictionary."""

    def __init__(self) -> None:
        self._sweeps: dict[str, Sweep] = {}

    async def get(self, feed: str) -> Sweep:
        """Return the feed's sweeps, an empty record before the first write."""
        return self._sweeps.get(feed, Sweep(feed=feed))

    async def write(self, sweep: Sweep) -> bool:
        """Write all but the wish if the revision is still the recorded one; False where another was faster."""
        known = await self.get(sweep.feed)
        if known.revision != sweep.revision:
            return False
        self._sweeps[sweep.feed] = replace(sweep, revision=sweep.revision + 1, wish=known.wish)
        return True

    async def ask(self, feed: str, wish: SweepRequest) -> None:
        """Leave a wish in place of any before it."""
        self._sweeps[feed] = replace(await self.get(feed), wish=wish)
