"""Leases on loops: each lease names the one process that may run its loop now."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class Leases(Protocol):
    """Stores leases on loops, by name; all processes share them.

    Each method raises StoreUnavailable if the database does not answer.

    A `holder` is the name of a process, as `worker_name` returns it.
    """

    async def hold(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """Take or extend the lease `name` for the process `holder`, until the time `until`; return True on success.

        If the holder's lease already ends later than `until`, its end does not change: the holder's clock may have been
        set back. If another holder's lease has not ended at `now`, change nothing and return False. Raises
        StoreUnavailable.
        """

    async def release(self, name: str, holder: str) -> None:
        """End the lease `name` at once if the process `holder` has it; otherwise do nothing.

        Raises StoreUnavailable.
        """

    async def holders(self, now: datetime) -> Mapping[str, str]:
        """Return the name of the holder of each lease that has not ended at `now`, by the lease's name.

        Raises StoreUnavailable.
        """
