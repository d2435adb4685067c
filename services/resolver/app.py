"""Wires the resolver: answers frontends from MongoDB, hears what changed, raises what is asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram

from services.resolver import answers, description
from services.resolver.answers import ProblemFound
from services.resolver.assets import Assets
from services.resolver.catalog import Catalog
from services.resolver.demand import Demand
from services.resolver.news import News
from services.resolver.routes import Routes
from services.resolver.waiting import Waiting
from shared import log
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.health import Health, serving
from shared.kafka import Broker
from shared.publisher import Publisher
from shared.render import Renderer
from shared.runtime import Loop, looping
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.errors import StoreUnavailable

SERVICE = "resolver"
_LARGEST_BODY = 1_000_000
_NO_PAUSE = 0.0
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Retry-After",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Content-Type, If-None-Match",
    "Access-Control-Max-Age": "86400",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger = log.get(__name__)


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(
            mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
        )
        broker = Broker(settings.kafka)
        closing.push_async_callback(broker.close)
        registry = CollectorRegistry()
        renderer = Renderer(settings.public_root)
        listings = mongo.MongoListings(database, renderer)
        publisher = Publisher(broker, settings.topic_prefix, SERVICE, utc_now)
        catalog = Catalog(listings, asyncio.get_running_loop().time)
        demand = Demand(listings, publisher, feeds, utc_now, registry)
        waiting = Waiting(catalog, demand, utc_now)
        news = News(settings, catalog, waiting)
        variants = [spec.name for spec in settings.variants]
        routes = Routes(catalog, demand, waiting, renderer, variants, settings.serve_wait_seconds, utc_now)
        # Reads go on while Kafka is away, so it is no reason to take the resolver out of service.
        health = Health({"mongo": lambda: mongo.ping(database)}, registry)
        app = create_app(routes, health, registry)
        loops = [Loop("demand", demand.work, _NO_PAUSE), Loop("news", news.follow, 1.0, endless=True)]
        async with serving(app, settings.host, settings.resolver_port), looping(loops):
            health.is_started = True
            _logger.info("started", port=settings.resolver_port)
            await stop.wait()
            health.is_draining = True


def create_app(routes: Routes, health: Health, registry: CollectorRegistry) -> web.Application:
    """Return the HTTP application."""
    seconds = Histogram(
        "listing_images_answer_seconds", "Time to answer", ["route", "status"], registry=registry,
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    )  # fmt: skip

    @web.middleware
    async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await handler(request)
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "none"
        seconds.labels(route, str(response.status)).observe(loop.time() - began)
        return response

    app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[measured, _cross_origin, _problems])
    app.add_routes([*routes.table(), *description.routes(), *Assets().routes(), *health.routes()])
    return app


@web.middleware
async def _cross_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let pages of any site ask: the answers are public."""
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    response = web.Response(status=204, headers=_PREFLIGHT) if is_preflight else await handler(request)
    response.headers.update(_CORS)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn everything that goes wrong into a problem; nothing of it says more than the client needs."""
    try:
        return await handler(request)
    except ProblemFound as found:
        return answers.problem(found)
    except StoreUnavailable as fault:
        _logger.warning("store-unavailable", error=str(fault))
        return answers.problem(ProblemFound(503, "the database does not answer; try again", retry_after=2))
    except web.HTTPException as refused:
        response = answers.problem(ProblemFound(refused.status, _words(refused)))
        if isinstance(refused, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(refused.allowed_methods))
        return response
    except Exception:
        _logger.exception("answer-failed", route=request.path[:200])
        return answers.problem(ProblemFound(500, "the resolver's log says more"))


def _words(refused: web.HTTPException) -> str:
    match refused.status:
        case 404:
            return "there is nothing at this address; /api/docs lists what there is"
        case 405:
            return "this address takes other methods; see the Allow header"
        case 413:
            return f"a body may have at most {_LARGEST_BODY:,} bytes"
        case _:
            return refused.reason
