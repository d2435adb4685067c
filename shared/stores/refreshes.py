"""How many photos of each feed were refreshed on request in the current hour."""

from typing import Protocol


class Refreshes(Protocol):
    """Counts the photos of feeds that clients of the ingest had refreshed, hour by hour of the store's clock."""

    async def take(self, feed: str, photos: int, allowed: int) -> bool:
        """Count `photos` more photos of `feed` in the current hour, unless that would make more than `allowed`.

        Return True if they were counted; False, and nothing is changed, if they are too many. Raises StoreUnavailable.
        """
