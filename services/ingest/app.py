"""Builds and runs the service `ingest`, which takes property records, pushes and refreshes over HTTP."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry

from services.ingest.access import ClientTokens
from services.ingest.listings_route import ListingsRoute
from services.ingest.middleware import http_middleware
from services.ingest.operations import API
from services.ingest.refresh_route import RefreshRoute
from services.ingest.webhook_route import WebhookRoute
from shared import log
from shared.clock import Clock, utc_now
from shared.domain.feed import Feed
from shared.health import LOG_SECONDS, Health, serving
from shared.http_api import description
from shared.kafka import Broker
from shared.publisher import Publisher
from shared.render import Renderer
from shared.runtime import Loop, running_loops
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.ledgers import Ledgers
from shared.stores.listings import ListingRecords
from shared.stores.pushed_keys import PushedKeys
from shared.stores.refreshes import Refreshes

SERVICE = "ingest"

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestParts:
    """Holds what the service `ingest` needs: settings, feeds by name, stores, publisher, clock and metrics registry."""

    settings: Settings
    feeds: Mapping[str, Feed]
    listings: ListingRecords
    ledgers: Ledgers
    refreshes: Refreshes
    pushed_keys: PushedKeys
    publisher: Publisher
    registry: CollectorRegistry
    clock: Clock = utc_now


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run the service `ingest` until `stop` is set: serve its API, and log changes of its health.

    `feeds` are the feeds by name.
    """
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(
            mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
        )
        broker = Broker(settings.kafka)
        closing.push_async_callback(broker.close)
        registry = CollectorRegistry()
        parts = IngestParts(
            settings=settings,
            feeds=feeds,
            listings=mongo.MongoListings(database, Renderer(settings.public_root)),
            ledgers=mongo.MongoLedgers(database),
            refreshes=mongo.MongoRefreshes(database),
            pushed_keys=mongo.MongoPushedKeys(database),
            publisher=Publisher(broker, settings.topic_prefix, SERVICE, utc_now),
            registry=registry,
        )
        health = Health({"mongo": lambda: mongo.ping(database), "kafka": broker.ping}, registry)
        loops = [Loop("health", health.log_changes, LOG_SECONDS, is_cancellable=True)]
        async with serving(create_app(parts, health), settings.host, settings.ingest_port), running_loops(loops):
            health.is_started = True
            _logger.info("started", port=settings.ingest_port, locked=not settings.ingest_tokens)
            await stop.wait()
            health.is_draining = True


def create_app(parts: IngestParts, health: Health) -> web.Application:
    """Return the HTTP application of the service `ingest` with all its routes; the caller serves it."""
    client_tokens = ClientTokens(parts.settings.ingest_tokens)
    app = web.Application(middlewares=[http_middleware(client_tokens, parts.registry)])
    app.add_routes(ListingsRoute(parts.publisher, parts.feeds, parts.registry).routes())
    app.add_routes(WebhookRoute(parts.pushed_keys, parts.feeds, parts.clock, parts.registry).routes())
    refresh = RefreshRoute(parts.listings, parts.ledgers, parts.refreshes, parts.feeds, parts.clock)
    app.add_routes([*refresh.routes(), *description.routes(API), *health.routes()])
    return app
