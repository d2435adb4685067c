"""How long until a feed's viewed photos have had their turn? Asked once a second and feed, however many are told."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from shared.clock import Clock
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.domain.throughput import expected_per_second, seconds_until_turn
from shared.stores.errors import StoreUnavailable
from shared.stores.release_queue import ReleaseQueue
from shared.stores.throughputs import Throughputs

_KEPT_SECONDS = 1.0
_LOOK_SECONDS = 0.5
"""An estimate is no reason to wait: who does not get it is told to come back soon."""


class Queue:
    """What waits before a viewed photo that is due: by the pace that the scheduler measured."""

    def __init__(
        self, listings: ReleaseQueue, throughputs: Throughputs, feeds: Mapping[str, Feed], clock: Clock
    ) -> None:
        self._listings = listings
        self._paces = throughputs
        self._feeds = feeds
        self._clock = clock
        self._asked: dict[str, tuple[float, asyncio.Task[float | None]]] = {}

    async def seconds(self, feed: str) -> float | None:
        """Return how long the viewed photos take that are due now; None where nothing is known."""
        if feed not in self._feeds:
            return None
        now = asyncio.get_running_loop().time()
        asked_at, task = self._asked.get(feed, (now, None))
        if task is None or asked_at + _KEPT_SECONDS <= now:
            task = asyncio.create_task(self._look(self._feeds[feed]))
            self._asked[feed] = now, task
        return await asyncio.shield(task)

    async def _look(self, feed: Feed) -> float | None:
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                now = self._clock()
                throughput = expected_per_second(feed, await self._paces.get(feed.name), now)
                if throughput:
                    return seconds_until_turn(
                        await self._listings.ahead_of(feed.name, Priority.VIEWED, now, now), throughput
                    )
        return None
