"""How a service lives: settings or a clear refusal, then work until SIGTERM, then what is in hand is finished."""

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import web

from shared import log, tracing
from shared.consumer import Consumer
from shared.domain.feed import Feed
from shared.health import LOG_SECONDS, Health, serving
from shared.kafka import BrokerUnavailable, missing_topics
from shared.settings import Settings, SettingsInvalid, load, unknown_variables
from shared.stores.errors import Contention, StoreUnavailable

Serve = Callable[[Settings, Mapping[str, Feed], asyncio.Event], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True)
class Loop:
    """Work that goes on by the clock: a round, then a pause. A round is finished when the service ends.

    Unless it is `is_cancellable`: it then only listens, and is cut off.
    """

    name: str
    round: Callable[[], Awaitable[object]]
    pause_seconds: float
    is_cancellable: bool = False


_logger = log.get(__name__)
_ROUND_SECONDS = 2.0
_DRAIN_SECONDS = 5.5
_LOOK_SECONDS = 10.0
_UNUSABLE = 2
_COLLECTED_AFTER = 10_000, 20, 20
"""Python's 700, 10 and 10 look at what a service keeps so often that it takes a twentieth of the resolver's CPU."""
_M_TRIM_THRESHOLD, _M_ARENA_MAX = -1, -8  # glibc's malloc.h


def run(service: str, serve: Serve, new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Run one service until it is told to stop. Ends with status 2 where the settings cannot be used."""
    try:
        settings, feeds = load()
    except SettingsInvalid as invalid:
        for fault in invalid.faults:
            print(f"{service}: {fault}", file=sys.stderr)  # noqa: T201 - logging is not configured yet
        sys.exit(_UNUSABLE)
    log.configure(service, settings.log_level, settings.log_format)
    for name, meant in unknown_variables(feeds).items():
        _logger.warning("unknown-setting", name=name, meant=meant or "none of .env.example")
    send_last_traces = tracing.configure(service)
    _give_memory_back()
    gc.freeze()  # modules stay: a full collection that looks at them again takes 50 ms, in the middle of an answer
    gc.set_threshold(*_COLLECTED_AFTER)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_until_stopped(serve, settings, feeds))
    send_last_traces()
    _leave()


def _leave() -> None:
    """End without waiting for threads: one that waits for a server that hangs would keep the process for as long."""
    with suppress(OSError):  # nobody may be reading any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _give_memory_back() -> None:
    """Let the C library, where it is glibc, return what a burst took: by default each thread keeps a heap of its own.

    A scheduler that hears of 80,000 photos at once takes 155 MB instead of 203, and 122 afterwards, at the same speed.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, 128 * 1024)  # said outright, it no longer grows with the largest block freed


async def _until_stopped(serve: Serve, settings: Settings, feeds: Mapping[str, Feed]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, feeds, stop)
    _logger.info("stopped")


async def work(
    settings: Settings, port: int, consumer: Consumer, loops: Sequence[Loop], health: Health, stop: asyncio.Event
) -> None:
    """Consume and run the loops until told to stop, answering the probes meanwhile."""
    app = web.Application()
    app.add_routes(health.routes())
    health.stuck_topics = lambda: consumer.topics if consumer.has_crashed else consumer.stuck_topics
    async with serving(app, settings.host, port):
        await wait_for_topics(settings, consumer.topics, stop)
        if stop.is_set():
            return
        await consumer.start()
        own = [
            Loop("progress", consumer.check_progress, _LOOK_SECONDS),
            Loop("health", health.log_changes, LOG_SECONDS, is_cancellable=True),
        ]
        async with running_loops([*loops, *own]):
            health.is_started = True
            _logger.info("started", port=port)
            await _stopped_or_crashed(stop, consumer)
            health.is_draining = True
        await consumer.stop(_DRAIN_SECONDS)
    if consumer.has_crashed:
        _logger.error("consumer-crashed")
        sys.exit(1)


async def wait_for_topics(settings: Settings, names: Sequence[str], stop: asyncio.Event) -> None:
    """Wait until Kafka answers and has the topics; say what is missing meanwhile."""
    while not stop.is_set():
        try:
            missing = await missing_topics(settings.kafka, names)
            if not missing:
                return
            _logger.warning("waiting-for-topics", missing=missing, hint="create them with: imagectl init")
        except BrokerUnavailable as fault:
            _logger.warning("waiting-for-kafka", error=str(fault))
        await sleep_unless(stop, 1.0)


async def sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not past the order to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def _stopped_or_crashed(stop: asyncio.Event, consumer: Consumer) -> None:
    while not stop.is_set() and not consumer.has_crashed:
        await sleep_unless(stop, 0.5)


@asynccontextmanager
async def running_loops(loops: Sequence[Loop]) -> AsyncIterator[None]:
    """Keep loops going for as long as the context lasts."""
    ending = asyncio.Event()
    tasks = {asyncio.create_task(_keep_going(loop, ending)): loop for loop in loops}
    try:
        yield
    finally:
        ending.set()
        # What a round has marked as said must be said: it is seen through.
        if rounds := [task for task, loop in tasks.items() if not loop.is_cancellable]:
            await asyncio.wait(rounds, timeout=_ROUND_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_going(loop: Loop, ending: asyncio.Event) -> None:
    """Keep a loop going whatever one of its rounds meets."""
    failures = 0
    while not ending.is_set():
        pause = loop.pause_seconds
        try:
            await loop.round()
            failures = 0
        except (StoreUnavailable, BrokerUnavailable) as fault:
            failures += 1
            pause = min(0.2 * 2**failures, 5.0)
            _logger.warning("waiting-for-infrastructure", loop=loop.name, error=str(fault), seconds=pause)
        except Contention as error:
            failures += 1
            pause = min(0.2 * 2**failures, 5.0)
            _logger.warning("loop-contended", loop=loop.name, error=str(error), seconds=pause)
        except Exception:
            failures += 1
            pause = min(0.2 * 2**failures, 5.0)
            _logger.exception("loop-failed", loop=loop.name, seconds=pause)
        await sleep_unless(ending, pause)
