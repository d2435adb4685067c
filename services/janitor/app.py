"""Builds and runs the janitor, which records listings, removes photos that must no longer be kept, and runs audits."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from services.janitor.audit import DailyAudit
from services.janitor.evidence import RemovalReports
from services.janitor.guard import Guard
from services.janitor.photo_objects import PhotoObjects
from services.janitor.removal import Remover
from shared.clock import utc_now
from shared.consumer import Consumer, Subscription
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.events.topics import LISTING_SEEN, MANIFEST
from shared.health import Health
from shared.kafka import Broker, KafkaReadiness
from shared.lease import Lease
from shared.publisher import Publisher
from shared.recording import Recorder
from shared.render import Renderer
from shared.rivals import WorkerIdentity
from shared.runtime import Loop, work
from shared.settings import Settings, worker_name
from shared.stores import mongo
from shared.stores.minio_objects import MinioObjects

SERVICE = "janitor"
_GATHER_SECONDS = 0.25
"""How long records gather into a batch: longer than in the scheduler, so that mostly the scheduler writes a listing."""
_SWEEP_PAUSE_SECONDS = 0.5
_AUDIT_PAUSE_SECONDS = 1.0


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run the janitor until `stop` is set. Then finish the work that has started, and end the lease.

    The janitor records listings, removes photos that must no longer be kept, and runs audits. The lease lets only one
    janitor remove photos and run audits at a time. `feeds` are all feeds by name.
    """
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
        reports = RemovalReports(mongo.MongoRemovals(database), publisher, renderer, registry)
        remover = Remover(listings, PhotoObjects(objects), reports, guard, lease, utc_now, registry)
        subscription = Subscription(LISTING_SEEN, recorder.record, batch_size=100, gather_seconds=_GATHER_SECONDS)
        consumer = Consumer(settings, SERVICE, [subscription], dead_letters, registry)
        kafka = KafkaReadiness(settings.kafka, settings.topic_prefix, MANIFEST, broker)
        health = Health({"mongo": lambda: mongo.ping(database), "kafka": kafka.ping, "objects": objects.ping}, registry)
        audit = DailyAudit(
            listings, objects, mongo.MongoAudits(database), lease, sorted(feeds), utc_now, registry
        )  # fmt: skip
        loops = [Loop("removal", remover.sweep, _SWEEP_PAUSE_SECONDS), Loop("audit", audit.step, _AUDIT_PAUSE_SECONDS)]
        identity = WorkerIdentity(mongo.MongoWorkers(database), settings, SERVICE)
        await work(settings, identity, consumer, loops, health, stop)
        await lease.release()
