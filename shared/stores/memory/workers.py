"""Workers in memory, for tests."""

from shared.stores.workers import Worker


class MemoryWorkers:
    """Keeps workers in memory, for tests; implements Workers."""

    def __init__(self) -> None:
        self._by_name: dict[str, Worker] = {}

    async def get(self, name: str) -> Worker | None:
        return self._by_name.get(name)

    async def put(self, worker: Worker) -> None:
        self._by_name[worker.name] = worker
