"""Wires the downloader: hears what is outdated, fetches it within the feeds' budgets, stores it and says so."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta

from prometheus_client import CollectorRegistry

from services.downloader.download import Downloader
from services.downloader.encoders import Encoders
from services.downloader.fetch import Fetcher
from services.downloader.handle import Handler
from services.downloader.ledger import OriginBudget
from shared.clock import utc_now
from shared.consumer import Consumer, Subscription
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.events.topics import IMAGE_OUTDATED, IMAGE_OUTDATED_VIEWED
from shared.health import Health
from shared.kafka import Broker
from shared.publisher import Publisher
from shared.render import Renderer
from shared.runtime import Loop, work
from shared.settings import Settings, read_secret, worker_name
from shared.stores import mongo
from shared.stores.minio_objects import MinioObjects

SERVICE = "downloader"
_BATCHES = 30
"""Enough to hold all that the scheduler releases of a slow feed, so that the others' need not wait on the topic."""
_VIEWED_BATCHES = 20
_PATIENCE_SECONDS = 4.0
"""So long downloads under way may go on after SIGTERM; consumers wait for 6 s in all, and settling takes time too."""


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(
            mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
        )
        broker = Broker(settings.kafka)
        closing.push_async_callback(broker.close)
        objects = MinioObjects(settings)
        closing.callback(objects.close)
        encoders = await closing.enter_async_context(Encoders())
        fetcher = await closing.enter_async_context(Fetcher(_tokens(feeds)))
        registry, worker = CollectorRegistry(), worker_name(settings, SERVICE)
        renderer = Renderer(settings.public_root)
        dead_letters = DeadLetters(broker, settings.topic_prefix, SERVICE, utc_now, registry)
        handler = Handler(
            mongo.MongoListings(database, renderer),
            mongo.MongoAttempts(database),
            Publisher(broker, settings.topic_prefix, SERVICE, utc_now),
            renderer,
            dead_letters,
            OriginBudget(mongo.MongoBudgets(database), worker),
            Downloader(fetcher, encoders, objects, settings.variants, utc_now).download,
            objects.ping,
            feeds,
            timedelta(hours=settings.superseded_hours),
            worker,
            utc_now,
            registry,
        )
        subscriptions = [
            Subscription(
                IMAGE_OUTDATED_VIEWED,
                handler.handle_viewed,
                batch_size=10,
                concurrency=_VIEWED_BATCHES,
                gather_seconds=0.01,
            ),
            Subscription(IMAGE_OUTDATED, handler.handle, batch_size=10, concurrency=_BATCHES),
        ]
        consumer = Consumer(settings, SERVICE, subscriptions, dead_letters, registry)
        health = Health(
            {"mongo": lambda: mongo.ping(database), "kafka": broker.ping, "objects": objects.ping}, registry
        )
        resuming = Loop("resume", handler.resume, pause_seconds=30.0)
        ending = asyncio.create_task(_cut_off(handler, stop))
        closing.callback(ending.cancel)
        await work(settings, settings.downloader_port, consumer, [resuming], health, stop)


async def _cut_off(handler: Handler, stop: asyncio.Event) -> None:
    """Let what is in hand come to its end for a while, then put it back: another worker has it at once."""
    await stop.wait()
    handler.drain()
    await asyncio.sleep(_PATIENCE_SECONDS)
    handler.cut_off()


def _tokens(feeds: Mapping[str, Feed]) -> dict[str, str]:
    names = {feed.token_env for feed in feeds.values() if feed.token_env}
    return {name: read_secret(name) for name in names}
