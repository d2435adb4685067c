"""A lease on a loop that only one process may run at a time. It ends ten seconds after its holder last extended it."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from shared.clock import Clock
from shared.stores.errors import StoreUnavailable
from shared.stores.leases import Leases

_DURATION = timedelta(seconds=10)
_RELEASE_TIMEOUT_SECONDS = 0.5


class Lease:
    """The lease `name` on a loop, as one process, named `holder`, takes, extends and ends it in the store.

    The lease ends ten seconds after it was last extended. Calls of `is_held` extend it, with one write to the store
    every five seconds.
    """

    def __init__(self, leases: Leases, name: str, holder: str, clock: Clock) -> None:
        self._leases = leases
        self._name = name
        self._holder = holder
        self._clock = clock
        self._until = clock()

    async def is_held(self) -> bool:
        """Return True if this process holds the lease, False if another process does. Raises StoreUnavailable.

        If the lease is not held, or ends within five seconds, first try to take or extend it.
        """
        now = self._clock()
        if now + _DURATION / 2 > self._until:
            is_ours = await self._leases.hold(self._name, self._holder, now, now + _DURATION)
            self._until = now + _DURATION if is_ours else now
        return now < self._until

    @property
    def is_unexpired(self) -> bool:
        """True while the lease that `is_held` last took or extended has not ended, by this process's own clock.

        No other process can have held the lease meanwhile. False if this process never held it. The store is not asked.
        """
        return self._clock() < self._until

    async def release(self) -> None:
        """End the lease in the store, so that another process can take it at once; do nothing if another has it.

        If the store fails or does not answer within half a second, nothing is raised, and the lease ends when its time
        is over.
        """
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_TIMEOUT_SECONDS):
                await self._leases.release(self._name, self._holder)
