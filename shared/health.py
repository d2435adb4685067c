"""The three HTTP routes of every service: /healthz (is the process alive?), /readyz (is it ready?), and /metrics."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared import compression, log
from shared.kafka import BrokerUnavailable
from shared.stores.errors import StoreUnavailable

Ping = Callable[[], Awaitable[object]]
"""Asks a server; raises StoreUnavailable or BrokerUnavailable while the server does not answer."""
_PING_SECONDS = 4.0
LOG_SECONDS = 10.0
"""The pause between two calls of `Health.log_changes`."""
_logger = log.get(__name__)


class Health:
    """Tells over HTTP whether one service process is alive and ready, gives its metrics, and logs outages of servers.

    `pings` has a function for each server that the process depends on, by the server's name. The function raises
    StoreUnavailable or BrokerUnavailable while the server does not answer. `registry` has the metrics. The process sets
    `is_started` when it starts to work, and `is_draining` when it starts to end.
    """

    def __init__(self, pings: Mapping[str, Ping], registry: CollectorRegistry) -> None:
        self._pings = pings
        self._registry = registry
        self.is_draining = False
        self.is_started = False
        self._logged: Collection[str] = ()
        self.stuck_topics: Callable[[], Sequence[str]] = tuple
        """Returns the topics whose consumer makes no progress. If there are any, /healthz answers 503, so that the
        process is started again."""
        self.worker_token = ""
        """The token of this process as a worker. /healthz?worker=TOKEN answers 421 if TOKEN is another one, or if the
        process is draining: another process may then take the worker's name."""

    def routes(self) -> list[web.RouteDef]:
        """Return aiohttp's routes of /healthz, /readyz and /metrics.

        /healthz answers 503 if a consumer makes no progress. If a request to /healthz names a worker's token, the
        answer is 421 if that is not the token of this process, or if the process is draining. /readyz answers 503 if
        the process is not ready.
        """
        return [
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
        ]

    async def _healthz(self, request: web.Request) -> web.Response:
        if (token := request.query.get("worker")) is not None and (self.is_draining or token != self.worker_token):
            return _answer({"status": "another worker"}, 421)
        if topics := self.stuck_topics():
            return _answer({"status": "stuck", "topics": list(topics)}, 503)
        return _answer({"status": "alive"}, 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        faults = await self.faults()
        return _answer({"status": "not ready" if faults else "ready", "faults": faults}, 503 if faults else 200)

    async def log_changes(self) -> None:
        """Log which of the servers that the process needs are unavailable, if this has changed since the last call.

        Each service calls this method regularly, so that outages are in the log even if nobody requests /readyz.
        """
        faults = await self._unavailable()
        if faults.keys() != set(self._logged):
            if faults:
                _logger.warning("dependency-unavailable", **faults)
            else:
                _logger.info("dependency-available")
        self._logged = tuple(faults)

    async def faults(self) -> dict[str, str]:
        """Return why the process is not ready, as texts by the name of a server or "service"; empty if it is ready.

        Each call asks all servers; a server has four seconds to answer.
        """
        faults = await self._unavailable()
        if not self.is_started:
            faults["service"] = "starting"
        if self.is_draining:
            faults["service"] = "draining"
        return faults

    async def _unavailable(self) -> dict[str, str]:
        errors = await asyncio.gather(*(_error_of(ping) for ping in self._pings.values()))
        return {name: error for name, error in zip(self._pings, errors, strict=True) if error}

    async def _metrics(self, request: web.Request) -> web.Response:
        body, headers = (
            generate_latest(self._registry),
            {"Content-Type": CONTENT_TYPE_LATEST, "Vary": "Accept-Encoding"},
        )
        if compression.should_compress(request, body):
            body, headers["Content-Encoding"] = compression.gzipped(body), "gzip"
        return web.Response(body=body, headers=headers)


class PortUnusable(Exception):
    """Raised if a service cannot listen at its port. The message says why."""


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve an aiohttp application on `host` and `port` for as long as the context lasts.

    When the context ends, requests under way have five seconds to finish. Raises PortUnusable if the port cannot be
    used.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=5)
    await runner.setup()
    try:
        await listen(runner, host, port)
        yield
    finally:
        await runner.cleanup()


async def listen(runner: web.BaseRunner, host: str, port: int) -> None:
    """Make aiohttp's `runner` listen on `host` and `port`. Raises PortUnusable if the port cannot be used."""
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
    except OSError as error:
        raise PortUnusable(f"port {port} of {host} cannot be used: {error.strerror or error}") from error


async def _error_of(ping: Ping) -> str | None:
    try:
        async with asyncio.timeout(_PING_SECONDS):
            await ping()
    except TimeoutError:
        return "no answer in time"
    except (StoreUnavailable, BrokerUnavailable) as error:
        return str(error)
    return None


def _answer(body: dict[str, object], status: int) -> web.Response:
    return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})
