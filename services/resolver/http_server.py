"""Serves the resolver's application over HTTP, with its own limits for long request lines and slow clients.

The connection is a subclass of aiohttp's `RequestHandler`, whose methods are public but not documented as an interface.
This works with aiohttp 3.14.5; tests/unit/test_http_server.py fails if a later version changes what is used here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from services.resolver import middleware
from shared import health
from shared.http_api import answers
from shared.http_api.answers import ProblemFound

MAX_LINE_BYTES = 32_768
"""The limit of a request line: an MLS's URL may be long, with every byte percent-encoded."""
IDLE_TIMEOUT_SECONDS = 75.0
"""How long a connection waits for a whole request head. Longer than proxies keep idle connections (nginx: 60 s)."""
WRITE_TIMEOUT_SECONDS = 30.0
"""How long a client may take to read what was sent before more can be sent."""
_SHUTDOWN_TIMEOUT_SECONDS = 5.0

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve the resolver's application at `host` and `port` inside the `async with` block; stop when the block ends.

    A client that disconnects cancels the handler of its request. At the end, requests that are being answered have up
    to 5 s to finish. Raises PortUnusable if the port cannot be used.
    """
    async with AsyncExitStack() as closing:
        app_runner = web.AppRunner(app)
        await app_runner.setup()
        closing.push_async_callback(app_runner.cleanup)
        assert app_runner.server is not None  # noqa: S101 - setup() has made it
        runner = web.ServerRunner(_Server(app_runner.server), shutdown_timeout=_SHUTDOWN_TIMEOUT_SECONDS)
        await runner.setup()
        closing.push_async_callback(runner.cleanup)
        await health.listen(runner, host, port)
        yield


class _Server(web.Server):
    """Handles requests with the handler of aiohttp's server `server`, on connections of class `_Connection`.

    A request with an unknown `Expect` header is answered with 417. If a client disconnects, the handler of its request
    is cancelled.
    """

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            _refusing_expectations(server.request_handler),
            request_factory=server.request_factory,
            handler_cancellation=True,
        )

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp accepts None for no access log
            max_line_size=MAX_LINE_BYTES,
            keepalive_timeout=IDLE_TIMEOUT_SECONDS,
        )


class _Connection(web.RequestHandler):
    """Handles one client's connection as aiohttp does, but answers malformed requests with problems (RFC 9457).

    The connection is aborted if its client does not read for 30 s.
    """

    _write_deadline: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Start the timer that aborts the connection after 30 s; called by asyncio if the client does not read."""
        super().pause_writing()
        if self.transport is not None:
            loop = asyncio.get_running_loop()
            self._write_deadline = loop.call_later(WRITE_TIMEOUT_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer that would abort the connection; called by asyncio when the client reads again."""
        super().resume_writing()
        self._cancel_write_deadline()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timer that would abort the connection; called by asyncio when the connection has ended.

        `exc` is the error that ended the connection, None if there was none.
        """
        super().connection_lost(exc)
        self._cancel_write_deadline()

    def _cancel_write_deadline(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the problem (RFC 9457) for a request that cannot be parsed; called by aiohttp.

        The status is 413 if `exc` says that a line is too long, else `status`; `message` is not used. The connection
        closes after the answer. Raises ConnectionError if part of an answer was sent already.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, LineTooLong):
            return _last_answer(ProblemFound(413, "the address or a header is too long"))
        return _last_answer(ProblemFound(status, "the request is not valid HTTP"))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer `resp` to `request`, and return what aiohttp's own method returns; called by aiohttp.

        If the rest of the request's body is malformed, the connection closes after the answer. `start_time` is for
        aiohttp's access log.
        """
        if request.content.exception() is not None:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log an error as aiohttp does, except the error of a malformed request body; called by aiohttp.

        The arguments are those of `logging.Logger.exception`.
        """
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)


def _last_answer(problem: ProblemFound) -> web.Response:
    """Return the HTTP answer for a problem of a request that no middleware sees, with the middleware's headers.

    The connection closes after the answer, because it is uncertain where the next request begins.
    """
    response = answers.problem(problem)
    response.headers.update(middleware.HEADERS | {"X-Request-Id": middleware.new_request_id()})
    response.force_close()
    return response


def _refusing_expectations(handler: _Handler) -> _Handler:
    """Return a handler that answers 417 to requests with an unknown `Expect` header, and calls `handler` for others.

    Without this check, aiohttp would answer before any middleware, and repeat the header's value.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() not in ("", "100-continue"):
            return _last_answer(ProblemFound(417, "Expect may say 100-continue and nothing else"))
        return await handler(request)

    return handle
