"""Runs a service process: checks the settings, works until SIGTERM, and drains before it ends."""

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
from shared.health import LOG_SECONDS, Health, PortUnusable, serving
from shared.kafka import BrokerUnavailable, missing_topics
from shared.rivals import CHECK_SECONDS, WorkerIdentity
from shared.settings import Settings, SettingsInvalid, load, unknown_variables
from shared.stores.errors import Contention, StoreUnavailable

Serve = Callable[[Settings, Mapping[str, Feed], asyncio.Event], Coroutine[None, None, None]]
"""Does the work of a service: takes the settings, the feeds by name, and an event; returns once the event is set."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A function that a service calls repeatedly, in the background, `pause_seconds` after each return.

    A call is a *round*. The log names the loop by `name`. When the service stops, a round under way has two seconds to
    finish. If `is_cancellable` is True, the service does not wait for a round of this loop: the round is cancelled as
    soon as those of the other loops have ended.
    """

    name: str
    round: Callable[[], Awaitable[object]]
    pause_seconds: float
    is_cancellable: bool = False


_logger = log.get(__name__)
_LAST_ROUND_SECONDS = 2.0
_DRAIN_SECONDS = 5.5
_PROGRESS_SECONDS = 10.0
_UNUSABLE_SETTINGS = 2
_GC_THRESHOLDS = 10_000, 20, 20
"""With Python's 700, 10 and 10, garbage collection takes a twentieth of the resolver's CPU."""
_M_TRIM_THRESHOLD, _M_ARENA_MAX = -1, -8  # glibc's malloc.h


def run(service: str, serve: Serve, new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Load the settings, run a service until SIGTERM or SIGINT, then end the process: this function never returns.

    `service` is the service's name, for the log and traces. `serve` does the work of the service. It is called once
    with the settings, the feeds by name, and an event that a signal sets; it returns after the event is set. `new_loop`
    returns the event loop to use; None stands for asyncio's own.

    The exit status of the process is 0 after a signal, 1 if the consumer crashed or the port cannot be used, and 2 if
    the settings cannot be used or another worker has the same name.
    """
    try:
        settings, feeds = load()
    except SettingsInvalid as invalid:
        for fault in invalid.faults:
            print(f"{service}: {fault}", file=sys.stderr)  # noqa: T201 - logging is not configured yet
        sys.exit(_UNUSABLE_SETTINGS)
    log.configure(service, settings.log_level, settings.log_format)
    for name, similar in unknown_variables().items():
        _logger.warning("unknown-setting", name=name, meant=similar or "none of .env.example")
    send_last_traces = tracing.configure(service)
    _configure_malloc()
    gc.freeze()  # imported modules are not collected again: that would take 50 ms, in the middle of an answer
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        try:
            runner.run(_until_stopped(serve, settings, feeds))
        except PortUnusable as error:
            sys.exit(f"{service}: IMAGES_{service.upper()}_PORT: {error}")
    send_last_traces()
    _exit_now()


def _exit_now() -> None:
    """End this process with status 0 without waiting for its threads: a thread may wait for a server that hangs."""
    with suppress(OSError):  # the reader of the output may be gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _configure_malloc() -> None:
    """Make glibc use one heap for all threads of this process, and return freed memory to the system.

    With another C library, do nothing. A scheduler that records 80,000 photos at once then takes 155 MB instead of 203
    MB, and 122 MB afterwards, at the same speed.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, 128 * 1024)  # glibc's default, which would grow if it were not set


async def _until_stopped(serve: Serve, settings: Settings, feeds: Mapping[str, Feed]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, feeds, stop)
    _logger.info("stopped")


async def work(
    settings: Settings,
    identity: WorkerIdentity,
    consumer: Consumer,
    loops: Sequence[Loop],
    health: Health,
    stop: asyncio.Event,
) -> None:
    """Run a service's consumer and loops until `stop` is set, and serve its health routes on its port meanwhile.

    First, wait until Kafka answers and has the consumer's topics. At the end, finish the batches in flight, for at most
    5.5 seconds. If the consumer crashes, stop as well, and raise SystemExit with status 1. `identity` finds another
    process with this worker's name: if one answers, stop and raise SystemExit with status 2. If it answers already at
    the start, read nothing from Kafka.
    """
    app = web.Application()
    app.add_routes(health.routes())
    health.stuck_topics = lambda: consumer.topics if consumer.has_crashed else consumer.stuck_topics
    health.worker_token = identity.token
    async with serving(app, settings.host, identity.port):
        await wait_for_topics(settings, consumer.topics, stop)
        if stop.is_set():
            return
        with suppress(StoreUnavailable):
            await identity.check()
        _end_beside_rival(identity)
        await consumer.start()
        own = [
            Loop("progress", consumer.check_progress, _PROGRESS_SECONDS),
            Loop("health", health.log_changes, LOG_SECONDS, is_cancellable=True),
            Loop("identity", identity.check, CHECK_SECONDS, is_cancellable=True),
        ]
        async with running_loops([*loops, *own]):
            health.is_started = True
            _logger.info("started", port=identity.port)
            while not (stop.is_set() or consumer.has_crashed or identity.rival):
                await sleep_unless(stop, 0.5)
            health.is_draining = True
        await consumer.stop(_DRAIN_SECONDS)
    _end_beside_rival(identity)
    if consumer.has_crashed:
        _logger.error("consumer-crashed")
        sys.exit(1)


def _end_beside_rival(identity: WorkerIdentity) -> None:
    """If another process with this worker's name was found, log it and raise SystemExit with status 2."""
    if identity.rival:
        _logger.error("worker-name-taken", error=identity.rival)
        sys.exit(_UNUSABLE_SETTINGS)


async def wait_for_topics(settings: Settings, names: Sequence[str], stop: asyncio.Event) -> None:
    """Wait until Kafka answers and has the topics `names`, or until the event `stop` is set.

    `names` are the full names, with the prefix of the settings. Every second, log that Kafka does not answer, or which
    topics are missing.
    """
    while not stop.is_set():
        try:
            missing = await missing_topics(settings.kafka, names)
            if not missing:
                return
            _logger.warning("waiting-for-topics", missing=missing, hint="create them with: imagectl init")
        except BrokerUnavailable as error:
            _logger.warning("waiting-for-kafka", error=str(error))
        await sleep_unless(stop, 1.0)


async def sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    """Sleep for `seconds`, or until the event `stop` is set if that is earlier; return None in both cases."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


@asynccontextmanager
async def running_loops(loops: Sequence[Loop]) -> AsyncIterator[None]:
    """Run the loops in the background, side by side, for as long as the context lasts.

    When the context ends, wait up to two seconds for rounds under way, but not for rounds of cancellable loops. Then
    cancel all rounds that have not ended.
    """
    ending = asyncio.Event()
    tasks = {asyncio.create_task(_run_loop(loop, ending)): loop for loop in loops}
    try:
        yield
    finally:
        ending.set()
        # A round that has recorded photos as released must still publish their events.
        if rounds := [task for task, loop in tasks.items() if not loop.is_cancellable]:
            await asyncio.wait(rounds, timeout=_LAST_ROUND_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_loop(loop: Loop, ending: asyncio.Event) -> None:
    """Call `loop.round` again and again until the event `ending` is set, `loop.pause_seconds` after each return.

    If a round raises an exception, it is logged, not raised. The next pause is then 0.4 seconds. It doubles with each
    further failure in a row, up to 5 seconds.
    """
    failures = 0
    while not ending.is_set():
        pause = loop.pause_seconds
        try:
            await loop.round()
            failures = 0
        except (StoreUnavailable, BrokerUnavailable) as error:
            failures += 1
            pause = min(0.2 * 2**failures, 5.0)
            _logger.warning("waiting-for-infrastructure", loop=loop.name, error=str(error), seconds=pause)
        except Contention as error:
            failures += 1
            pause = min(0.2 * 2**failures, 5.0)
            _logger.warning("loop-contended", loop=loop.name, error=str(error), seconds=pause)
        except Exception:
            failures += 1
            pause = min(0.2 * 2**failures, 5.0)
            _logger.exception("loop-failed", loop=loop.name, seconds=pause)
        await sleep_unless(ending, pause)
