"""Sweeps in memory, for tests."""

from dataclasses import replace

from shared.stores.sweeps import SweepRequest, SweepState


class MemorySweeps:
    """Keeps the progress of freshness sweeps in memory, for tests; implements Sweeps."""

    def __init__(self) -> None:
        self._states: dict[str, SweepState] = {}

    async def get(self, feed: str) -> SweepState:
        return self._states.get(feed, SweepState(feed=feed))

    async def write(self, state: SweepState) -> bool:
        current = await self.get(state.feed)
        if current.revision != state.revision:
            return False
        self._states[state.feed] = replace(state, revision=state.revision + 1, request=current.request)
        return True

    async def request(self, feed: str, request: SweepRequest) -> None:
        self._states[feed] = replace(await self.get(feed), request=request)
