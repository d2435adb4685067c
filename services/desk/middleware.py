"""The middlewares: they measure the time to answer, add security headers, and turn errors into pages."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram

from services.desk import view
from services.desk.view import Refused
from shared import log
from shared.kafka import BrokerUnavailable
from shared.stores.errors import Contention, StoreUnavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[..., Awaitable[web.StreamResponse]]

_logger = log.get(__name__)


def measure(registry: CollectorRegistry) -> Middleware:
    """Return a middleware that measures the seconds to answer each request, by route and status.

    The measured seconds go into a histogram, a metric that is registered in `registry`.
    """
    seconds = Histogram(
        "listing_images_desk_answer_seconds", "Time to answer an operator", ["route", "status"], registry=registry
    )

    @web.middleware
    async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await handler(request)
        resource = request.match_info.route.resource
        seconds.labels(resource.canonical if resource else "none", str(response.status)).observe(loop.time() - began)
        return response

    return measured


def add_security_headers(public_root: str) -> Middleware:
    """Return a middleware that adds headers for browsers to every answer of the desk.

    The headers allow the desk's own scripts and styles, photos from `public_root`, forms to the desk itself, and
    nothing else. They forbid caches to keep an answer, except static files for five minutes.
    """
    headers = {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"img-src 'self' {view.origin_of(public_root)}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }

    @web.middleware
    async def hardened(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers.update(headers)
        is_static = request.path.startswith("/static/")
        response.headers["Cache-Control"] = "private, max-age=300" if is_static else "no-store"
        return response

    return hardened


@web.middleware
async def show_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the answer of `handler` to the request, or an error page with a status and a sentence if it fails.

    Refused and aiohttp's HTTP errors have their own status. For StoreUnavailable, BrokerUnavailable and Contention the
    status is 503. For any other error it is 500: the page tells the operator to read the log, which has the traceback.
    """
    try:
        return await handler(request)
    except Refused as error:
        return _error_page(request, error.status, error.detail)
    except (StoreUnavailable, BrokerUnavailable) as error:
        _logger.warning("desk-dependency-unavailable", error=str(error))
        return _error_page(request, 503, f"{error}. Try again when it answers.")
    except Contention as error:
        _logger.warning("desk-action-contended", error=str(error))
        return _error_page(request, 503, f"Not done: {error}. It is safe to try again.")
    except web.HTTPException as error:
        return _error_page(request, error.status, f"{error.reason}.")
    except Exception:
        _logger.exception("answer-failed", route=request.path[:200])
        return _error_page(request, 500, "A fault of ours; the desk's log says more.")


def _error_page(request: web.Request, status: int, detail: str) -> web.Response:
    context = {"status": status, "title": HTTPStatus(status).phrase, "detail": detail}
    return view.render(request, "error.html", context, status=status)
