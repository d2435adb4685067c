"""The throughputs of feeds in memory, for tests."""

from shared.domain.throughput import Throughput


class MemoryThroughputs:
    """Keeps the latest throughput of feeds in memory, for tests; implements Throughputs."""

    def __init__(self) -> None:
        self._measured: dict[str, Throughput] = {}

    async def put(self, feed: str, throughput: Throughput) -> None:
        self._measured[feed] = throughput

    async def get(self, feed: str) -> Throughput | None:
        return self._measured.get(feed)
