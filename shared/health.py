"""Is the process alive, is it ready, what does it count? The three routes that every service answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared import compression, log
from shared.kafka import BrokerUnavailable
from shared.stores.errors import StoreUnavailable

Ping = Callable[[], Awaitable[object]]
_PATIENCE_SECONDS = 4.0
LOG_SECONDS = 10.0
_logger = log.get(__name__)


class Health:
    """What the probes are told. `pings` raise while a dependency is out of reach."""

    def __init__(self, pings: Mapping[str, Ping], registry: CollectorRegistry) -> None:
        self._pings = pings
        self._registry = registry
        self.is_draining = False
        self.is_started = False
        self._told: Collection[str] = ()
        self.stuck_topics: Callable[[], Sequence[str]] = tuple
        """The topics that stand still; with any, the process had better be started again."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
        ]

    async def _healthz(self, _: web.Request) -> web.Response:
        if stuck := self.stuck_topics():
            return _answer({"status": "stuck", "topics": list(stuck)}, 503)
        return _answer({"status": "alive"}, 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        faults = await self.faults()
        return _answer({"status": "not ready" if faults else "ready", "faults": faults}, 503 if faults else 200)

    async def log_changes(self) -> None:
        """Log what is out of reach, where that has changed since the last time: no probe may be there to ask."""
        faults = await self._out_of_reach()
        if faults.keys() != set(self._told):
            if faults:
                _logger.warning("dependency-unavailable", **faults)
            else:
                _logger.info("dependency-available")
        self._told = tuple(faults)

    async def faults(self) -> dict[str, str]:
        """Return what keeps the service from its work, by name."""
        faults = await self._out_of_reach()
        if not self.is_started:
            faults["service"] = "starting"
        if self.is_draining:
            faults["service"] = "draining"
        return faults

    async def _out_of_reach(self) -> dict[str, str]:
        answers = await asyncio.gather(*(_fault(ping) for ping in self._pings.values()))
        return {name: fault for name, fault in zip(self._pings, answers, strict=True) if fault}

    async def _metrics(self, request: web.Request) -> web.Response:
        body, headers = (
            generate_latest(self._registry),
            {"Content-Type": CONTENT_TYPE_LATEST, "Vary": "Accept-Encoding"},
        )
        if compression.should_compress(request, body):
            body, headers["Content-Encoding"] = compression.gzipped(body), "gzip"
        return web.Response(body=body, headers=headers)


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve an application on host and port for as long as the context lasts."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
        yield
    finally:
        await runner.cleanup()


async def _fault(ping: Ping) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await ping()
    except TimeoutError:
        return "no answer in time"
    except (StoreUnavailable, BrokerUnavailable) as fault:
        return str(fault)
    return None


def _answer(body: dict[str, object], status: int) -> web.Response:
    return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})
