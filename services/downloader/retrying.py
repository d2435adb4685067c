"""Awaits work that must not be lost: repeats it while a server is unavailable, and waits for all concurrent work."""

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
    """Call `act` and return its result, repeating the call while a store or Kafka is unavailable.

    After StoreUnavailable, Contention or BrokerUnavailable, pause for 0.2 s, then longer, up to 5 s, before the next
    call. Raises the last of these errors after five minutes, and any other exception at once.
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
    """Await all awaitables concurrently, each to its end even if others fail.

    If any failed, raise the error of the first one that failed, in the order of `work`.
    """
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
