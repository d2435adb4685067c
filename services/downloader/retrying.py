"""Awaits work that must not be lost: retries it while a server is unavailable, and lets concurrent work end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from shared import log
from shared.kafka import BrokerUnavailable
from shared.stores.errors import Contention, StoreUnavailable

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 5.0
_MAX_SECONDS = 300.0
"""Half of the time after which a consumer that finishes nothing counts as stuck."""

_logger = log.get(__name__)


async def until_available(act: Callable[[], Awaitable[T]]) -> T:
    """Call `act` until it succeeds, with growing pauses while a server cannot be reached, and return its result.

    After five minutes raises the last error: StoreUnavailable, Contention or BrokerUnavailable. Any other is raised at
    once.
    """
    pause, give_up_at = _FIRST_PAUSE_SECONDS, time.monotonic() + _MAX_SECONDS
    while True:
        try:
            return await act()
        except (StoreUnavailable, Contention, BrokerUnavailable) as error:
            if time.monotonic() > give_up_at:
                raise
            _logger.warning("waiting-for-infrastructure", error=str(error), seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _MAX_PAUSE_SECONDS)


async def all_done(work: Iterable[Awaitable[None]]) -> None:
    """Await all awaitables concurrently, each to its end, even if others fail; then raise the first error."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
