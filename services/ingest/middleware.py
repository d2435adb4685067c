"""The HTTP middleware: lets only clients with a token in, turns errors into problems, and measures time."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry, Histogram

from services.ingest.access import ClientTokens
from services.ingest.body import MAX_BODY_BYTES
from shared import log
from shared.http_api import answers
from shared.http_api.answers import ProblemFound
from shared.kafka import BrokerUnavailable
from shared.stores.errors import Contention, StoreUnavailable

_ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RETRY_SECONDS = 5
_HEADERS = {
    "Server": "listing-images",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PUBLIC = ("/healthz", "/readyz", "/metrics", "/api/openapi.json", "/api/docs")
"""The paths that need no token."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger = log.get(__name__)


def http_middleware(client_tokens: ClientTokens, registry: CollectorRegistry) -> Middleware:
    """Return the middleware of the service `ingest`, which handles each request before and after its route.

    The histogram of the seconds to answer is made in `registry`.
    """
    seconds = Histogram(
        "listing_images_ingest_answer_seconds", "Time to answer", ["route", "status"], registry=registry
    )

    @web.middleware
    async def handle(request: web.Request, handler: _Handler) -> web.StreamResponse:
        began = time.perf_counter()
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _ACCEPTED_REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        response = await _answer(request, handler, client_tokens, request_id)
        response.headers.update(_HEADERS | {"X-Request-Id": request_id})
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "none"
        seconds.labels(route, str(response.status)).observe(time.perf_counter() - began)
        return response

    return handle


async def _answer(
    request: web.Request, handler: _Handler, client_tokens: ClientTokens, request_id: str
) -> web.StreamResponse:
    """Return the answer of `handler`, or a problem (RFC 9457) if the token is wrong or `handler` raises an error.

    Errors that are not the client's fault are logged with the request id, and never with a part of the body.
    """
    if request.path not in _PUBLIC and not client_tokens.accepts(request.headers.get("Authorization", "")):
        response = answers.problem(ProblemFound(401, "send one of the tokens in IMAGES_INGEST_TOKEN as a Bearer token"))
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    try:
        return await handler(request)
    except ProblemFound as problem:
        return answers.problem(problem)
    except web.HTTPException as refusal:
        return answers.refused(refusal, MAX_BODY_BYTES)
    except web.RequestPayloadError:
        return answers.problem(ProblemFound(400, "the body is not what its headers say"))
    except BrokerUnavailable as error:
        return _unavailable("Kafka does not answer", error, request_id)
    except StoreUnavailable as error:
        return _unavailable("the database does not answer", error, request_id)
    except Contention as error:
        return _unavailable("others change the same listing", error, request_id)
    except Exception:
        _logger.exception("answer-failed", route=request.path[:200], request_id=request_id)
        return answers.problem(ProblemFound(500, "the ingest's log says more"))


def _unavailable(why: str, error: Exception, request_id: str) -> web.Response:
    """Log `error`, and return the problem (503) that tells the client `why`, and to send the request again later."""
    _logger.warning("ingest-unavailable", error=str(error), request_id=request_id)
    return answers.problem(ProblemFound(503, f"{why}; send the same again later", retry_after=_RETRY_SECONDS))
