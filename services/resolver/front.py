"""What every answer passes: an id, problems for whatever goes wrong, headers, and the count."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import Middleware
from aiohttp.web_protocol import RequestHandler
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.resolver import answers
from services.resolver.answers import ProblemFound
from services.resolver.batches import Overloaded
from shared import log
from shared.stores.errors import StoreUnavailable

LARGEST_BODY = 1_000_000
_LONGEST_LINE = 32_768
"""Of the request line: an MLS's URL may be long, and every byte of it percent-encoded."""
_IDLE_SECONDS = 75.0
"""What a connection may take to bring a whole head: longer than proxies keep theirs, nginx's 60 s among them."""
_SENDING_SECONDS = 30.0
"""How long a client may take to read what is sent to it before more of it can be sent."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ALWAYS = {
    "Server": "listing-images",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_OF_DATA = _ALWAYS | {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
}
_OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Retry-After, Warning, X-Request-Id",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Content-Type, If-None-Match, X-Request-Id",
    "Access-Control-Max-Age": "86400",
}
_STALE = '110 - "Response is Stale"'
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Plain = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_logger = log.get(__name__)


class Front:
    """The one middleware. `origins` are the sites whose pages may ask; "*" means all."""

    def __init__(
        self,
        origins: Collection[str],
        is_failing: Callable[[], bool],
        registry: CollectorRegistry,
    ) -> None:
        self._origins = origins
        self._is_open = "*" in origins
        self._is_failing = is_failing
        self._took = Histogram(
            "listing_images_answer_seconds", "Time to answer", ["route", "status"], registry=registry, buckets=_BUCKETS
        )
        self._shed = Counter("listing_images_shed", "Refused, for more was asked than can be read", registry=registry)
        self._counted: dict[tuple[web.AbstractResource | None, int], Histogram] = {}

    def middleware(self) -> Middleware:
        """Return it as aiohttp wants it."""

        @web.middleware
        async def passed(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._pass(request, handler)

        return passed

    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _SANE_ID.fullmatch(given) else _made_id()
        response = await self._answer(request, handler, request_id)
        headers = response.headers
        headers.update(_ALWAYS if "Content-Security-Policy" in headers else _OF_DATA)
        headers["X-Request-Id"] = request_id
        if self._is_open:
            headers.update(_OPEN)
        elif self._origins:
            _let_pages_read(request, headers, self._origins)
        if request.method == "OPTIONS" and "Access-Control-Allow-Origin" in headers:
            headers.update(_PREFLIGHT)
        if response.status < 400 and self._is_failing():
            headers["Warning"] = _STALE
        self._histogram(request, response).observe(time.perf_counter() - began)
        return response

    async def _answer(self, request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
        """Answer, or write the problem that kept from it; what the client need not know is in the log."""
        try:
            return await handler(request)
        except ProblemFound as found:
            return answers.problem(found)
        except web.HTTPException as refused:
            return _refused(request, refused)
        except web.RequestPayloadError:
            return answers.problem(ProblemFound(400, "the body is not what its headers say"))
        except Overloaded:
            self._shed.inc()
            return answers.problem(ProblemFound(503, "too many ask at once; try again", retry_after=1))
        except StoreUnavailable as fault:
            _logger.warning("store-unavailable", error=str(fault), request_id=request_id)
            return answers.problem(ProblemFound(503, "the database does not answer; try again", retry_after=2))
        except TimeoutError:
            _logger.warning("answer-timed-out", route=request.path[:200], request_id=request_id)
            return answers.problem(ProblemFound(503, "it took too long; try again", retry_after=2))
        except Exception:
            _logger.exception("answer-failed", route=request.path[:200], request_id=request_id)
            return answers.problem(ProblemFound(500, "the resolver's log says more"))

    def _histogram(self, request: web.Request, response: web.StreamResponse) -> Histogram:
        """Find it without its labels: looking them up costs as much as counting."""
        resource = request.match_info.route.resource
        known = self._counted.get((resource, response.status))
        if known is None:
            route = resource.canonical if resource else "none"
            known = self._counted[resource, response.status] = self._took.labels(route, str(response.status))
        return known


def _made_id() -> str:
    return f"{random.getrandbits(64):016x}"


def _refused(request: web.Request, refused: web.HTTPException) -> web.Response:
    """Write what aiohttp refuses as a problem; OPTIONS of a known address is answered."""
    if isinstance(refused, web.HTTPMethodNotAllowed):
        allowed = {"Allow": ", ".join(sorted({*refused.allowed_methods, "OPTIONS"}))}
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=allowed)
        response = answers.problem(ProblemFound(405, "this address takes other methods; see the Allow header"))
        response.headers.update(allowed)
        return response
    words = {
        404: "there is nothing at this address; /api/docs lists what there is",
        413: f"a body may have at most {LARGEST_BODY:,} bytes",
    }
    return answers.problem(ProblemFound(refused.status, words.get(refused.status, refused.reason)))


def _let_pages_read(request: web.Request, headers: MutableMapping[str, str], origins: Collection[str]) -> None:
    """Let a page of one of the sites read the answer; who asks decides, and caches must know."""
    headers["Vary"] = ", ".join(filter(None, [headers.get("Vary"), "Origin"]))
    if (origin := request.headers.get("Origin")) in origins:
        headers.update(_OPEN | {"Access-Control-Allow-Origin": str(origin)})


class _Protocol(RequestHandler):
    """aiohttp's own, with a problem for bytes that are not HTTP, and an end for who asks and does not read."""

    _giving_up: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Wait for a client that does not read, but not for ever."""
        super().pause_writing()
        if self.transport is not None:
            self._giving_up = self._loop.call_later(_SENDING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: it reads."""
        super().resume_writing()
        self._wait_no_more()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End with the connection."""
        super().connection_lost(exc)
        self._wait_no_more()

    def _wait_no_more(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be read."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        found = ProblemFound(status, "the request is not valid HTTP")
        if isinstance(exc, LineTooLong):
            found = ProblemFound(413, "the address or a header is too long")
        return _parting(found)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, and say that it is the last where the rest of the body cannot be read."""
        if request.content.exception() is not None:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log a fault; what a client sent in place of a body is none, and aiohttp meets it when it reads the rest."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)


def _parting(found: ProblemFound) -> web.Response:
    """Write a problem that no middleware sees; the connection ends, for where the next request begins is not sure."""
    response = answers.problem(found)
    response.headers.update(_OF_DATA | {"X-Request-Id": _made_id()})
    response.force_close()
    return response


def _expecting(handler: _Plain) -> _Plain:
    """Refuse what `Expect` may not say before aiohttp does, which asks no middleware and repeats it."""

    async def handled(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() not in ("", "100-continue"):
            return _parting(ProblemFound(417, "Expect may say 100-continue and nothing else"))
        return await handler(request)

    return handled


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs the application: long URLs are read, nobody idles for long, and who leaves takes the question along."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app, access_log=None, handle_signals=False, shutdown_timeout=5, handler_cancellation=True,
            max_line_size=_LONGEST_LINE, keepalive_timeout=_IDLE_SECONDS,
        )  # fmt: skip

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server  # aiohttp has no other way to say which protocol it speaks
        server.request_handler = _expecting(server.request_handler)
        return server
