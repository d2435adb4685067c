"""Wires the janitor: hears of listings, records them, removes what must no longer be held, audits what is."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from services.janitor.audit import DailyAudit
from services.janitor.guard import Guard
from services.janitor.removal import Remover
from shared.clock import utc_now
from shared.consumer import Consumer, Subscription
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.events.topics import LISTING_SEEN
from shared.health import Health
from shared.kafka import Broker
from shared.lease import Lease
from shared.publisher import Publisher
from shared.recording import Recorder
from shared.render import Renderer
from shared.runtime import Loop, work
from shared.settings import Settings, worker_name
from shared.stores import mongo
from shared.stores.minio_objects import MinioObjects

SERVICE = "janitor"
_LISTEN_SECONDS = 0.25
"""How long a batch is gathered: longer than the scheduler's, so that it is the one that writes and this one looks."""
_SWEEP_SECONDS = 0.5
_AUDIT_SECONDS = 1.0


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
        registry = CollectorRegistry()
        renderer = Renderer(settings.public_root)
        listings = mongo.MongoListings(database, renderer)
        lease = Lease(mongo.MongoLeases(database), "removal", worker_name(settings, SERVICE), utc_now)
        dead_letters = DeadLetters(broker, settings.topic_prefix, SERVICE, utc_now, registry)
        publisher = Publisher(broker, settings.topic_prefix, SERVICE, utc_now)
        recorder = Recorder(listings, feeds, dead_letters, utc_now, registry)
        guard = Guard(listings, mongo.MongoRemovalHolds(database), feeds, utc_now, registry)
        remover = Remover(
            listings, objects, mongo.MongoRemovals(database), guard, lease, publisher, renderer, utc_now, registry
        )
        lane = Subscription(LISTING_SEEN, recorder.record, batch_size=100, gather_seconds=_LISTEN_SECONDS)
        consumer = Consumer(settings, SERVICE, [lane], dead_letters, registry)
        health = Health(
            {"mongo": lambda: mongo.ping(database), "kafka": broker.ping, "objects": objects.ping}, registry
        )
        audit = DailyAudit(
            listings, objects, mongo.MongoAudits(database), lease, sorted(feeds), utc_now, registry
        )  # fmt: skip
        loops = [Loop("removal", remover.sweep, _SWEEP_SECONDS), Loop("audit", audit.step, _AUDIT_SECONDS)]
        await work(settings, settings.janitor_port, consumer, loops, health, stop)
        await lease.give_back()
