"""A lease on a loop that only one process may run. The lease of a process that died ends by itself."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from shared.clock import Clock
from shared.stores.errors import StoreUnavailable
from shared.stores.leases import Leases

_DURATION = timedelta(seconds=10)
_RELEASE_TIMEOUT_SECONDS = 0.5


class Lease:
    """A named lease of one holder. It is extended when it is asked for, with one write every few seconds."""

    def __init__(self, leases: Leases, name: str, holder: str, clock: Clock) -> None:
        self._leases = leases
        self._name = name
        self._holder = holder
        self._clock = clock
        self._until = clock()

    async def is_held(self) -> bool:
        """Take or extend the lease if it ends soon; return True if this process holds it. Raises StoreUnavailable."""
        now = self._clock()
        if now + _DURATION / 2 > self._until:
            is_ours = await self._leases.hold(self._name, self._holder, now, now + _DURATION)
            self._until = now + _DURATION if is_ours else now
        return now < self._until

    @property
    def is_unexpired(self) -> bool:
        """True if the lease has not ended since `is_held` returned True, so that nobody else has held it meanwhile."""
        return self._clock() < self._until

    async def release(self) -> None:
        """End the lease so that another process can take it at once; do nothing if the store does not answer soon."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_TIMEOUT_SECONDS):
                await self._leases.release(self._name, self._holder)
