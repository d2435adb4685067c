"""The resolver: answers frontends from MongoDB, and raises the priority of photos that visitors ask for."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry

from services.resolver import http_server, middleware
from services.resolver.answer_cache import AnswerCache
from services.resolver.answer_routes import AnswerRoutes
from services.resolver.assets import Assets
from services.resolver.cache_metrics import CacheMetrics
from services.resolver.demand import DemandQueue
from services.resolver.hidden_listings import HiddenListings
from services.resolver.invalidation import CacheInvalidation
from services.resolver.operations import API
from services.resolver.policy import CachePolicy
from services.resolver.serve_route import ServeRoute
from services.resolver.wait_estimates import WaitEstimates
from services.resolver.waiters import Waiters
from shared import log
from shared.clock import Clock, utc_now
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.health import LOG_SECONDS, Health
from shared.http_api import description
from shared.kafka import Broker
from shared.publisher import Publisher
from shared.render import Renderer
from shared.runtime import Loop, running_loops
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.answers import Answers
from shared.stores.release_queue import ReleaseQueue
from shared.stores.throughputs import Throughputs

SERVICE = "resolver"
_NO_PAUSE = 0.0
_KAFKA_WAIT_SECONDS = 5.0
"""How long a starting resolver waits for Kafka before it is ready; it answers without Kafka too."""

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Resources:
    """Holds what the parts of a resolver are made from: settings, feeds by name, stores, Kafka broker and metrics.

    `listings` is the store of listings, which also holds the queue of photos. Tests use stores in memory.
    """

    settings: Settings
    feeds: Mapping[str, Feed]
    listings: ReleaseQueue
    answers: Answers
    throughputs: Throughputs
    broker: Broker
    renderer: Renderer
    registry: CollectorRegistry
    clock: Clock = utc_now


@dataclass(frozen=True, slots=True)
class ResolverParts:
    """Holds the objects that make up one resolver; `connect_parts` makes and connects them."""

    cache: AnswerCache
    demand: DemandQueue
    waiters: Waiters
    invalidation: CacheInvalidation
    hidden_listings: HiddenListings
    answer_routes: AnswerRoutes
    serve_route: ServeRoute


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run the resolver until `stop` is set: connect to MongoDB and Kafka, serve HTTP, read events and raise demand.

    `feeds` are by name. The resolver counts as started once it reads events from Kafka, or after 5 s if Kafka does not
    answer.
    """
    async with AsyncExitStack() as closing:
        resources, health = await _connect(settings, feeds, closing)
        parts = connect_parts(resources)
        loops = [
            Loop("demand", parts.demand.run_round, _NO_PAUSE),
            Loop("invalidation", parts.invalidation.follow, 1.0, is_cancellable=True),
            Loop("listing-events", parts.hidden_listings.follow, 1.0, is_cancellable=True),
            Loop("hidden-listings", parts.hidden_listings.run_round, _NO_PAUSE, is_cancellable=True),
            Loop("kafka", parts.invalidation.check, 1.0),
            Loop("health", health.log_changes, LOG_SECONDS, is_cancellable=True),
        ]
        app = create_app(resources, parts, health)
        async with http_server.serving(app, settings.host, settings.resolver_port), running_loops(loops):
            with suppress(TimeoutError):
                async with asyncio.timeout(_KAFKA_WAIT_SECONDS):
                    await parts.invalidation.is_following.wait()
            health.is_started = True
            _logger.info("started", port=settings.resolver_port)
            await stop.wait()
            health.is_draining = True


async def _connect(settings: Settings, feeds: Mapping[str, Feed], closing: AsyncExitStack) -> tuple[Resources, Health]:
    """Connect to MongoDB and Kafka; return the resolver's resources and its health checks.

    The connections are registered in `closing`, and are closed when the caller leaves `closing`.
    """
    address = settings.mongo.get_secret_value(), settings.mongo_db
    database = await closing.enter_async_context(mongo.connect(*address))
    answers = await closing.enter_async_context(mongo.connect_for_answers(*address))
    broker = Broker(settings.kafka)
    closing.push_async_callback(broker.close)
    renderer, registry = Renderer(settings.public_root), CollectorRegistry()
    listings = mongo.MongoListings(database, renderer)
    resources = Resources(
        settings=settings,
        feeds=feeds,
        listings=listings,
        answers=mongo.MongoAnswers(answers, listings, renderer),
        throughputs=mongo.MongoThroughputs(database),
        broker=broker,
        renderer=renderer,
        registry=registry,
    )
    # Without Kafka the resolver stays ready: it answers as before, from entries with a shorter TTL.
    return resources, Health({"mongo": lambda: mongo.ping(database)}, registry)


def connect_parts(given: Resources) -> ResolverParts:
    """Make the parts of a resolver from its resources, and return them connected to each other.

    Nothing runs yet: the caller starts the loops and the HTTP server. Must be called while an event loop runs.
    """
    settings, clock, registry = given.settings, given.clock, given.registry
    policy = CachePolicy(asyncio.get_running_loop().time)
    hidden_listings = HiddenListings(settings, given.listings, given.feeds, clock)
    max_bytes = settings.resolver_cache_mb * 1_000_000
    cache = AnswerCache(given.answers, policy, CacheMetrics(registry), max_bytes, hidden_listings.withholds)
    hidden_listings.on_hidden = cache.remove_listing
    publisher = Publisher(given.broker, settings.topic_prefix, SERVICE, clock)
    demand = DemandQueue(given.listings, publisher, given.feeds, clock, registry)
    waiters = Waiters(cache, demand, clock, registry)
    dead_letters = DeadLetters(given.broker, settings.topic_prefix, SERVICE, clock, registry)
    estimates = WaitEstimates(given.listings, given.throughputs, given.feeds, clock)
    variants = [variant.name for variant in settings.variants]
    return ResolverParts(
        cache=cache,
        demand=demand,
        waiters=waiters,
        invalidation=CacheInvalidation(settings, given.broker, dead_letters, cache, waiters),
        hidden_listings=hidden_listings,
        answer_routes=AnswerRoutes(cache, demand, clock),
        serve_route=ServeRoute(cache, waiters, estimates, given.renderer, variants, settings.serve_wait_seconds, clock),
    )


def create_app(given: Resources, parts: ResolverParts, health: Health) -> web.Application:
    """Return the HTTP application with all routes and the middleware of the resolver; the caller serves it.

    The routes of `health`, for probes and metrics, are among them.
    """
    outer = middleware.HttpMiddleware(given.settings.cors, lambda: parts.cache.is_database_unavailable, given.registry)
    app = web.Application(client_max_size=middleware.MAX_BODY_BYTES, middlewares=[outer.for_aiohttp()])
    app.add_routes(parts.answer_routes.routes())
    app.add_routes(parts.serve_route.routes())
    app.add_routes([*description.routes(API), *Assets().routes(), *health.routes()])
    return app
