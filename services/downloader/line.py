"""Where photos of one feed wait: those that wait together go together, and no other feed waits behind them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.events.codec import Event
from shared.events.images import ImageOutdated
from shared.kafka import BrokerUnavailable
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable

Asked = Mapping[ListingId, Sequence[Event[ImageOutdated]]]
Work = Callable[[Asked], Awaitable[None]]

MOST_TOGETHER = 10
"""Events, about; one ledger operation serves them, and one write each of their listings."""


@dataclass(slots=True, eq=False)
class _Waiting:
    one: ListingId
    events: Sequence[Event[ImageOutdated]]
    end: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Line:
    """One feed's line, of which so many groups are at work at once."""

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._waiting: deque[_Waiting] = deque()

    async def see_through(self, asked: Asked, work: Work) -> None:
        """Return when all of it is done, by this caller or others; then raise what `work` raised over any of it."""
        mine = [_Waiting(one, events) for one, events in asked.items()]
        self._waiting += mine
        try:
            async with self._room:
                await self._work_on(self._next(), work)
            await asyncio.wait([one.end for one in mine])
        finally:
            for one in mine:
                one.end.cancel()  # where this caller was cancelled; else it has ended
        for one in mine:
            one.end.result()

    def _next(self) -> list[_Waiting]:
        """Take those who wait longest. Whoever comes later and finds none has nothing left to do but wait.

        Nobody is left over: each caller brings at most `MOST_TOGETHER`, and takes as many or all that there are.
        """
        group: list[_Waiting] = []
        while self._waiting and sum(len(one.events) for one in group) < MOST_TOGETHER:
            one = self._waiting.popleft()
            if not one.end.cancelled():
                group.append(one)
        return group

    async def _work_on(self, group: Sequence[_Waiting], work: Work) -> None:
        asked: dict[ListingId, list[Event[ImageOutdated]]] = {}
        for one in group:
            asked.setdefault(one.one, []).extend(one.events)
        try:
            if asked:
                await work(asked)
        except (StoreUnavailable, Contention, BrokerUnavailable) as fault:
            _end(group, fault)
        except Exception as fault:  # noqa: BLE001 - it is raised where the end is awaited
            if len(group) == 1:
                _end(group, fault)
            else:  # one record's fault must not cost others their attempt
                for one in group:
                    await self._work_on([one], work)
        else:
            _end(group)
        finally:
            for one in group:
                one.end.cancel()  # where this caller was cancelled; else it has ended


def _end(group: Sequence[_Waiting], fault: Exception | None = None) -> None:
    for one in group:
        if one.end.done():  # who waited for it was cancelled
            continue
        if fault is None:
            one.end.set_result(None)
        else:
            one.end.set_exception(fault)
            one.end.exception()  # perhaps nobody waits for it any more
