"""Which process runs a loop that only one may run?"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class Leases(Protocol):
    """Stores leases by name. Each method raises StoreUnavailable."""

    async def hold(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """Take or extend a lease until a time; return False, and change nothing, while another process holds it."""

    async def release(self, name: str, holder: str) -> None:
        """End a lease, if this process holds it."""

    async def holders(self, now: datetime) -> Mapping[str, str]:
        """Return the holder of each lease that has not ended, by the lease's name."""
