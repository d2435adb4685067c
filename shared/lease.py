"""A lease on a loop that only one process may run at a time. It ends ten seconds after its holder last extended it."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from shared.clock import Clock
from shared.stores.errors import StoreUnavailable
from shared.stores.leases import Leases

_DURATION = timedelta(seconds=10)
_RELEASE_TIMEOUT_SECONDS = 0.5


class Lease:
    """The lease `name` on a loop: one process, named `holder`, takes, extends and ends it in the store.

    The lease ends ten seconds after it was last extended. Calls of `is_held` extend it, with one write to the store
    every five seconds. `clock` returns the time that the store compares with other holders' times. `monotonic` returns
    a time in seconds that never goes back, so that setting the clock back does not prolong the lease in this process.
    """

    def __init__(
        self,
        leases: Leases,
        name: str,
        holder: str,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._name = name
        self._holder = holder
        self._clock = clock
        self._monotonic = monotonic
        self._until = clock()
        self._extended_at = -math.inf

    async def is_held(self) -> bool:
        """Return True if this process holds the lease, False if another process does. Raises StoreUnavailable.

        If the lease is not held, or ends within five seconds, try to take or extend it first.
        """
        now, began = self._clock(), self._monotonic()
        if now + _DURATION / 2 > self._until or began - self._extended_at > _DURATION.total_seconds() / 2:
            is_ours = await self._leases.hold(self._name, self._holder, now, now + _DURATION)
            self._until = now + _DURATION if is_ours else now
            self._extended_at = began
        return now < self._until

    @property
    def is_unexpired(self) -> bool:
        """True until the lease that `is_held` last took or extended ends, by this process's own clocks.

        While this is True, no other process can have taken the lease. It is False if this process never held the lease.
        The store is not asked.
        """
        is_recent = self._monotonic() - self._extended_at < _DURATION.total_seconds()
        return is_recent and self._clock() < self._until

    async def release(self) -> None:
        """End the lease in the store, so that another process can take it at once; do nothing if another has it.

        If the store fails or does not answer within half a second, no error is raised, and the lease ends ten seconds
        after it was last extended.
        """
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_TIMEOUT_SECONDS):
                await self._leases.release(self._name, self._holder)
