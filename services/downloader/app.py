"""Wires the downloader: it consumes `image-outdated`, fetches photos within the feeds' budgets, and stores them."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

from prometheus_client import CollectorRegistry

from services.downloader.download import Downloader
from services.downloader.encoders import Encoders
from services.downloader.fetch import Fetcher
from services.downloader.fresh_urls import UrlSource
from services.downloader.handle import Handler, HandlerParts
from services.downloader.no_photos import KnownNoPhotos
from services.downloader.url_sources import ApiUrls, HookUrls
from shared.clock import utc_now
from shared.consumer import Consumer, Subscription
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.events.topics import IMAGE_OUTDATED, IMAGE_OUTDATED_VIEWED, MANIFEST
from shared.health import Health
from shared.kafka import Broker, KafkaReadiness
from shared.origin_budget.budget import OriginBudget
from shared.publisher import Publisher
from shared.render import Renderer
from shared.reso.access import ApiAccess
from shared.reso.feed_reader import FeedReader
from shared.reso.odata import MlsClient
from shared.reso.quota import ApiQuota
from shared.rivals import WorkerIdentity
from shared.runtime import Loop, work
from shared.secret_values import read_secret
from shared.settings import Settings, worker_name
from shared.stores import mongo
from shared.stores.errors import StoreUnavailable
from shared.stores.minio_objects import MinioObjects

SERVICE = "downloader"
_ROUTINE_CONCURRENCY = 30
"""How many batches are handled at a time: enough for all released photos of a slow feed, so that other feeds go on."""
_VIEWED_CONCURRENCY = 20
_CLEAR_SECONDS = 0.5
"""How long a process that ends waits until the marks of published events are cleared."""
_MAX_QUOTA_WAIT_SECONDS = 20.0
"""How long a reading of URLs waits for the quota of the MLS's API. After that, the photos are deferred."""
_DRAIN_SECONDS = 4.0
"""How long downloads under way may go on after SIGTERM. Consumers wait for 6 s in all, and settling takes time too."""


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run a downloader in this process until `stop` is set, then drain the downloader.

    `feeds` are all feeds by name.
    """
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(
            mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
        )
        broker = Broker(settings.kafka)
        closing.push_async_callback(broker.close)
        objects = MinioObjects(settings)
        closing.callback(objects.close)
        encoders = await closing.enter_async_context(Encoders())
        fetcher = await closing.enter_async_context(Fetcher(_secrets(feeds)))
        registry, worker = CollectorRegistry(), worker_name(settings, SERVICE)
        renderer = Renderer(settings.public_root)
        budget = OriginBudget(mongo.MongoLedgers(database), worker)
        access = ApiAccess.of(database, budget, worker)
        no_photos = KnownNoPhotos(mongo.MongoNoPhotos(database))
        parts = HandlerParts(
            listings=mongo.MongoListings(database, renderer),
            attempts=mongo.MongoAttempts(database),
            publisher=Publisher(broker, settings.topic_prefix, SERVICE, utc_now),
            renderer=renderer,
            dead_letters=DeadLetters(broker, settings.topic_prefix, SERVICE, utc_now, registry),
            budget=budget,
            download=Downloader(fetcher, encoders, objects, no_photos, settings.variants, utc_now).download,
            ping_storage=objects.ping,
            feeds=feeds,
            superseded_for=timedelta(hours=settings.superseded_hours),
            worker=worker,
            clock=utc_now,
            registry=registry,
            url_source=lambda feed, is_viewed: _url_source(feed, access, closing, is_viewed=is_viewed),
        )
        kafka = KafkaReadiness(settings.kafka, settings.topic_prefix, MANIFEST, broker)
        health = Health(
            {"mongo": lambda: mongo.ping(database), "kafka": kafka.ping, "objects": objects.ping}, registry
        )  # fmt: skip
        identity = WorkerIdentity(mongo.MongoWorkers(database), settings, SERVICE)
        await _work(settings, identity, parts, health, stop)


async def _work(
    settings: Settings, identity: WorkerIdentity, parts: HandlerParts, health: Health, stop: asyncio.Event
) -> None:
    """Handle events with the given parts until `stop` is set, then drain, and clear the marks of published events."""
    handler = Handler(parts)
    draining = asyncio.create_task(_drain(handler, stop))
    loops = [
        Loop("resume", handler.resume, pause_seconds=30.0),
        Loop("announcements", handler.announcements.publish_overdue, pause_seconds=5.0),
    ]
    try:
        await work(settings, identity, _consumer(settings, handler, parts), loops, health, stop)
        await _clear_announcements(handler)
    finally:
        draining.cancel()


async def _clear_announcements(handler: Handler) -> None:
    """Clear the marks of published `image-downloaded` events before the process ends.

    If the database does not answer within _CLEAR_SECONDS, the marks stay, and another worker publishes these events
    once more.
    """
    with suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(_CLEAR_SECONDS):
            await handler.announcements.clear()


def _consumer(settings: Settings, handler: Handler, parts: HandlerParts) -> Consumer:
    viewed = Subscription(
        IMAGE_OUTDATED_VIEWED,
        handler.handle_viewed,
        batch_size=10,
        concurrency=_VIEWED_CONCURRENCY,
        gather_seconds=0.01,
    )
    routine = Subscription(IMAGE_OUTDATED, handler.handle, batch_size=10, concurrency=_ROUTINE_CONCURRENCY)
    return Consumer(settings, SERVICE, [viewed, routine], parts.dead_letters, parts.registry)


async def _drain(handler: Handler, stop: asyncio.Event) -> None:
    """Wait until `stop` is set, then let `handler` start no more downloads.

    Running downloads are cut off after _DRAIN_SECONDS. Their photos are deferred, so that another worker can claim
    them.
    """
    await stop.wait()
    handler.drain()
    await asyncio.sleep(_DRAIN_SECONDS)
    handler.cut_off()


def _url_source(feed: Feed, access: ApiAccess, closing: AsyncExitStack, *, is_viewed: bool) -> UrlSource | None:
    """Return the source from which URLs of the feed's photos are read anew; None if the feed's settings ask for none.

    `access` has the budget and the token for the MLS's API. The source's connections close when `closing` ends.
    `is_viewed` is True for the source of photos that visitors wait for: its requests have the priority of viewed
    photos.
    """
    if feed.refresh_url_hook:
        hook = HookUrls(feed)
        closing.push_async_callback(hook.aclose)
        return hook
    if not feed.refresh_urls:
        return None
    priority = Priority.VIEWED if is_viewed else Priority.ROUTINE
    quota = ApiQuota(feed, access.budget, utc_now, priority=priority, max_wait_seconds=_MAX_QUOTA_WAIT_SECONDS)
    reader = FeedReader(feed, MlsClient(feed, access.token(feed), quota=quota))
    closing.push_async_callback(reader.aclose)
    return ApiUrls(feed, reader)


def _secrets(feeds: Mapping[str, Feed]) -> dict[str, str]:
    names = {name for feed in feeds.values() for name in feed.image_secret_names.values()}
    return {name: read_secret(name) for name in names}
