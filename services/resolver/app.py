"""Wires the resolver: answers frontends from MongoDB, hears what changed, raises what is asked for."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress

from aiohttp import web
from prometheus_client import CollectorRegistry

from services.resolver import description, http_server, middleware
from services.resolver.assets import Assets
from services.resolver.cache_metrics import CacheMetrics
from services.resolver.catalog import Catalog
from services.resolver.demand import Demand
from services.resolver.news import News
from services.resolver.policy import CachePolicy
from services.resolver.queue import Queue
from services.resolver.routes import Routes
from services.resolver.waiting import Waiting
from shared import log
from shared.clock import Clock, utc_now
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.health import LOG_SECONDS, Health
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
_CATCH_UP_SECONDS = 5.0
"""How long a new resolver is not ready for want of Kafka; reads go on without it."""

_logger = log.get(__name__)


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as closing:
        where = settings.mongo.get_secret_value(), settings.mongo_db
        database = await closing.enter_async_context(mongo.connect(*where))
        answers = await closing.enter_async_context(mongo.connect_for_answers(*where))
        broker = Broker(settings.kafka)
        closing.push_async_callback(broker.close)
        registry = CollectorRegistry()
        renderer = Renderer(settings.public_root)
        # Kafka is no reason to take the resolver out of service: without it answers are kept for a shorter time.
        health = Health({"mongo": lambda: mongo.ping(database)}, registry)
        listings = mongo.MongoListings(database, renderer)
        parts = Parts(
            settings,
            feeds,
            listings,
            mongo.MongoAnswers(answers, listings, renderer),
            mongo.MongoThroughputs(database),
            broker,
            renderer,
            registry,
        )
        app = create_app(parts, health)
        loops = [
            Loop("demand", parts.demand.work, _NO_PAUSE),
            Loop("news", parts.news.follow, 1.0, is_cancellable=True),
            Loop("kafka", parts.news.check, 1.0),
            Loop("health", health.log_changes, LOG_SECONDS, is_cancellable=True),
        ]
        async with http_server.serving(app, settings.host, settings.resolver_port), running_loops(loops):
            with suppress(TimeoutError):
                async with asyncio.timeout(_CATCH_UP_SECONDS):
                    await parts.news.is_following.wait()
            health.is_started = True
            _logger.info("started", port=settings.resolver_port)
            await stop.wait()
            health.is_draining = True


class Parts:
    """What the resolver is made of, each given to those that need it."""

    def __init__(
        self,
        settings: Settings,
        feeds: Mapping[str, Feed],
        listings: ReleaseQueue,
        answers: Answers,
        throughputs: Throughputs,
        broker: Broker,
        renderer: Renderer,
        registry: CollectorRegistry,
        clock: Clock = utc_now,
    ) -> None:
        self.settings = settings
        self.registry = registry
        policy = CachePolicy(asyncio.get_running_loop().time)
        self.catalog = Catalog(answers, policy, CacheMetrics(registry), settings.resolver_cache_mb * 1_000_000)
        publisher = Publisher(broker, settings.topic_prefix, SERVICE, clock)
        self.demand = Demand(listings, publisher, feeds, clock, registry)
        self.waiting = Waiting(self.catalog, self.demand, clock, registry)
        dead_letters = DeadLetters(broker, settings.topic_prefix, SERVICE, clock, registry)
        self.news = News(settings, broker, dead_letters, self.catalog, self.waiting)
        variants = [spec.name for spec in settings.variants]
        queue = Queue(listings, throughputs, feeds, clock)
        self.routes = Routes(
            self.catalog, self.demand, self.waiting, queue, renderer, variants, settings.serve_wait_seconds, clock
        )


def create_app(parts: Parts, health: Health) -> web.Application:
    """Return the HTTP application."""
    outer = middleware.HttpMiddleware(parts.settings.cors, lambda: parts.catalog.is_failing, parts.registry)
    app = web.Application(client_max_size=middleware.MAX_BODY_BYTES, middlewares=[outer.for_aiohttp()])
    app.add_routes([*parts.routes.table(), *description.routes(), *Assets().routes(), *health.routes()])
    return app
