"""How many photos of each feed were refreshed on request in the current hour."""

from typing import Protocol


class Refreshes(Protocol):
    """Counts how many photos of each feed were refreshed for clients of the service `ingest`, in each hour.

    The hours are those of the store's clock.
    """

    async def take(self, feed: str, photos: int, allowed: int) -> bool:
        """Count `photos` more photos of `feed` in the current hour, if at most `allowed` are counted then.

        Return True if they were counted. If they are too many, change nothing and return False. Raises
        StoreUnavailable.
        """
