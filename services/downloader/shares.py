"""Hands out equal shares of a resource, such as memory, by urgency and order of arrival."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Shares:
    """A semaphore, within this process, with a fixed number of shares, of which a caller may hold several.

    Urgent callers get their shares first. Equally urgent callers get them in the order of their arrival: a later caller
    waits even if it wants fewer shares and enough are free.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._arrivals = itertools.count()
        self._waiting: list[tuple[bool, int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, shares: int, *, urgent: bool) -> AsyncIterator[None]:
        """Wait until `shares` shares are free for this caller, and hold them while the `with` block runs.

        An urgent caller goes before all callers that are not urgent.
        """
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not urgent, next(self._arrivals), shares, turn))
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(shares)
            self._hand_out()
            raise
        try:
            yield
        finally:
            self._give_back(shares)

    def _give_back(self, shares: int) -> None:
        self._free += shares
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting:
            _, _, shares, turn = self._waiting[0]
            if turn.cancelled():
                heapq.heappop(self._waiting)
                continue
            if shares > self._free:
                return
            heapq.heappop(self._waiting)
            self._free -= shares
            turn.set_result(None)
