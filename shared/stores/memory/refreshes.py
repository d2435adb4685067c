"""The counts of refreshed photos in memory, for tests."""


class MemoryRefreshes:
    """Counts refreshed photos of each feed in memory, for tests; implements Refreshes. The current hour never ends."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    async def take(self, feed: str, photos: int, allowed: int) -> bool:
        if self._used.get(feed, 0) + photos > allowed:
            return False
        self._used[feed] = self._used.get(feed, 0) + photos
        return True
