"""Which process runs a loop that one alone should run? Whoever holds its lease; a dead holder's ends by itself."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from shared.clock import Clock
from shared.stores.errors import StoreUnavailable
from shared.stores.leases import Leases

_HOLD = timedelta(seconds=10)
_GIVING_BACK_SECONDS = 0.5


class Lease:
    """A lease that is renewed while it is used: one write every few seconds, not one a round."""

    def __init__(self, leases: Leases, name: str, holder: str, clock: Clock) -> None:
        self._leases = leases
        self._name = name
        self._holder = holder
        self._clock = clock
        self._until = clock()

    async def is_held(self) -> bool:
        """Take or keep the lease; False while another process holds it. Raises StoreUnavailable."""
        now = self._clock()
        if now + _HOLD / 2 > self._until:
            is_ours = await self._leases.hold(self._name, self._holder, now, now + _HOLD)
            self._until = now + _HOLD if is_ours else now
        return now < self._until

    @property
    def runs_on(self) -> bool:
        """Whether it has not ended since `is_held` said so: then no other process held it in between either."""
        return self._clock() < self._until

    async def give_back(self) -> None:
        """Let another process go on at once, if that can be said soon: a lease ends by itself."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_GIVING_BACK_SECONDS):
                await self._leases.release(self._name, self._holder)
