"""Estimates of how long viewed photos wait in the queue, for Retry-After."""

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

_TTL_SECONDS = 1.0
_TIMEOUT_SECONDS = 0.5
"""An estimate is not worth a wait: without one, a client is told to come back soon."""


class WaitEstimates:
    """Estimates how many seconds viewed photos of a feed wait in the queue before their download.

    The estimate is made from the photos ahead in the queue and the throughput that the scheduler measured, both read
    from MongoDB. For each feed, one estimate is kept in memory for a second and used for all clients.
    """

    def __init__(self, queue: ReleaseQueue, throughputs: Throughputs, feeds: Mapping[str, Feed], clock: Clock) -> None:
        self._queue = queue
        self._throughputs = throughputs
        self._feeds = feeds
        self._clock = clock
        self._estimates: dict[str, tuple[float, asyncio.Task[float | None]]] = {}
        """By feed: when the estimate was begun (seconds of the event loop's clock), and its task."""

    async def seconds(self, feed: str) -> float | None:
        """Return after how many seconds a photo of `feed` has its turn in the queue if it is viewed and due now.

        Returns None if there is no estimate: the feed is not configured, its throughput was not measured, or the
        database does not answer in half a second.
        """
        if feed not in self._feeds:
            return None
        now = asyncio.get_running_loop().time()
        begun_at, task = self._estimates.get(feed, (now, None))
        if task is None or begun_at + _TTL_SECONDS <= now:
            task = asyncio.create_task(self._estimate(self._feeds[feed]))
            self._estimates[feed] = now, task
        return await asyncio.shield(task)

    async def _estimate(self, feed: Feed) -> float | None:
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                now = self._clock()
                throughput = expected_per_second(feed, await self._throughputs.get(feed.name), now)
                if throughput:
                    ahead = await self._queue.ahead_of(feed.name, Priority.VIEWED, now, now)
                    return seconds_until_turn(ahead, throughput)
        return None
