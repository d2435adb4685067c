"""The HTTP middleware: gives every answer a request id and headers, turns errors into problems, and measures time."""

import functools
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping

from aiohttp import web
from aiohttp.typedefs import Middleware
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.resolver.batches import Overloaded
from shared import log
from shared.http_api import answers
from shared.http_api.answers import ProblemFound
from shared.stores.errors import Contention, StoreUnavailable

MAX_BODY_BYTES = 1_000_000
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_POLICY = "Content-Security-Policy"
HEADERS = {
    "Server": "listing-images",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
    _POLICY: "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
"""The headers of all answers. Pages have a Content-Security-Policy of their own."""
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Retry-After, Warning, X-Request-Id",
}
_CORS_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Content-Type, If-None-Match, X-Request-Id",
    "Access-Control-Max-Age": "86400",
}
_STALE_WARNING = '110 - "Response is Stale"'
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger = log.get(__name__)


class HttpMiddleware:
    """Gives every answer of the resolver a request id, headers and metrics, and turns errors into problems (RFC 9457).

    `origins` are the sites whose pages may read answers ("*" means all). `is_stale` returns True while answers may come
    from stale cache entries, because the database is unavailable; answers then carry a `Warning` header.
    """

    def __init__(self, origins: Collection[str], is_stale: Callable[[], bool], registry: CollectorRegistry) -> None:
        self._origins = origins
        self._allows_all_origins = "*" in origins
        # Headers are added from a CIMultiDict twice as fast as from a dict, because their names are hashed already.
        self._headers = CIMultiDict(HEADERS | (_CORS if self._allows_all_origins else {}))
        self._is_stale = is_stale
        self._answer_seconds = Histogram(
            "listing_images_answer_seconds", "Time to answer", ["route", "status"], registry=registry, buckets=_BUCKETS
        )
        self._shed = Counter("listing_images_shed", "Refused, for more was asked than can be read", registry=registry)
        self._histograms: dict[tuple[web.AbstractResource | None, int], Histogram] = {}
        """The histogram's children by route and status: a look-up by labels is as slow as the observation itself."""

    def for_aiohttp(self) -> Middleware:
        """Return this middleware as a function, to pass to `web.Application(middlewares=[...])`."""
        # web.middleware sets an attribute, which a bound method cannot have; a coroutine around it would cost time.
        return web.middleware(functools.partial(self._handle))

    async def _handle(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        began = time.perf_counter()
        given = request.headers.get("X-Request-Id")
        request_id = given if given and _ACCEPTED_REQUEST_ID.fullmatch(given) else new_request_id()
        response = await self._answer(request, handler, request_id)
        headers = response.headers
        own_policy = headers.get(_POLICY)
        headers.update(self._headers)
        headers["X-Request-Id"] = request_id
        if own_policy is not None:
            headers[_POLICY] = own_policy
        if self._origins and not self._allows_all_origins:
            _allow_origin(request, headers, self._origins)
        if request.method == "OPTIONS" and "Access-Control-Allow-Origin" in headers:
            headers.update(_CORS_PREFLIGHT)
        if response.status < 400 and self._is_stale():
            headers["Warning"] = _STALE_WARNING
        self._histogram(request, response).observe(time.perf_counter() - began)
        return response

    async def _answer(self, request: web.Request, handler: _Handler, request_id: str) -> web.StreamResponse:
        """Return the answer of `handler`, or a problem (RFC 9457) if `handler` raises an error.

        Errors on our side, such as an unavailable database, are logged with `request_id`.
        """
        try:
            return await handler(request)
        except ProblemFound as problem:
            return answers.problem(problem)
        except web.HTTPException as refusal:
            return _refused(request, refusal)
        except web.RequestPayloadError:
            return answers.problem(ProblemFound(400, "the body is not what its headers say"))
        except Overloaded:
            self._shed.inc()
            return answers.problem(ProblemFound(503, "too many ask at once; try again", retry_after=1))
        except StoreUnavailable as error:
            _logger.warning("store-unavailable", error=str(error), request_id=request_id)
            return answers.problem(ProblemFound(503, "the database does not answer; try again", retry_after=2))
        except Contention as error:
            _logger.warning("answer-contended", error=str(error), request_id=request_id)
            return answers.problem(ProblemFound(503, "others change the same listing; try again", retry_after=2))
        except TimeoutError:
            _logger.warning("answer-timed-out", route=request.path[:200], request_id=request_id)
            return answers.problem(ProblemFound(503, "it took too long; try again", retry_after=2))
        except Exception:
            _logger.exception("answer-failed", route=request.path[:200], request_id=request_id)
            return answers.problem(ProblemFound(500, "the resolver's log says more"))

    def _histogram(self, request: web.Request, response: web.StreamResponse) -> Histogram:
        resource = request.match_info.route.resource
        histogram = self._histograms.get((resource, response.status))
        if histogram is None:
            route = resource.canonical if resource else "none"
            histogram = self._answer_seconds.labels(route, str(response.status))
            self._histograms[resource, response.status] = histogram
        return histogram


def new_request_id() -> str:
    """Return 16 random hexadecimal digits, the id of a request that has no acceptable `X-Request-Id` header."""
    return f"{random.getrandbits(64):016x}"


def _refused(request: web.Request, refusal: web.HTTPException) -> web.Response:
    """Return the problem (RFC 9457) for a request that aiohttp refuses, such as one to an unknown address.

    An OPTIONS request to a known address gets 204 and the allowed methods instead.
    """
    response = answers.refused(refusal, MAX_BODY_BYTES)
    if request.method == "OPTIONS" and "Allow" in response.headers:
        return web.Response(status=204, headers={"Allow": response.headers["Allow"]})
    return response


def _allow_origin(request: web.Request, headers: MutableMapping[str, str], origins: Collection[str]) -> None:
    """Add CORS headers to an answer's `headers` if the request's `Origin` is one of the allowed sites, `origins`.

    Called only if not all sites are allowed. `Vary: Origin` is always added, because caches must know that the answer
    depends on the request's Origin.
    """
    headers["Vary"] = ", ".join(filter(None, [headers.get("Vary"), "Origin"]))
    if (origin := request.headers.get("Origin")) in origins:
        headers.update(_CORS | {"Access-Control-Allow-Origin": str(origin)})
