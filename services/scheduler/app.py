"""Wires the scheduler: hears of listings, records them, releases what is due, and sweeps."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from services.scheduler.feed_reader import FeedReader
from services.scheduler.gauges import Gauges
from services.scheduler.odata import MlsClient
from services.scheduler.release import Release
from services.scheduler.sweep_metrics import SweepMetrics
from services.scheduler.sweeps import Sweeper, SweepStores
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
from shared.settings import Settings, read_secret, worker_name
from shared.stores import mongo

SERVICE = "scheduler"
_TICK_SECONDS = 0.25
_PACE_SECONDS = 5.0
_GAUGE_SECONDS = 60.0
"""Counting a feed of 100,000 listings takes a third of a second."""
_SWEEP_SECONDS = 1.0


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(
            mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
        )
        broker = Broker(settings.kafka)
        closing.push_async_callback(broker.close)
        registry = CollectorRegistry()
        listings = mongo.MongoListings(database, Renderer(settings.public_root))
        dead_letters = DeadLetters(broker, settings.topic_prefix, SERVICE, utc_now, registry)
        recorder = Recorder(listings, feeds, dead_letters, utc_now, registry)
        publisher = Publisher(broker, settings.topic_prefix, SERVICE, utc_now)
        # One lease for all loops, named after the oldest of them.
        lease = Lease(mongo.MongoLeases(database), "release", worker_name(settings, SERVICE), utc_now)
        release = Release(listings, lease, publisher, feeds, utc_now, registry)
        lane = Subscription(LISTING_SEEN, recorder.record, batch_size=50, concurrency=2, gather_seconds=0.05)
        consumer = Consumer(settings, SERVICE, [lane], dead_letters, registry)
        health = Health({"mongo": lambda: mongo.ping(database), "kafka": broker.ping}, registry)
        throughputs = mongo.MongoThroughputs(database)
        gauges = Gauges(listings, mongo.MongoLedgers(database), lease, feeds, utc_now, registry)
        loops = [
            Loop("release", release.tick, _TICK_SECONDS),
            Loop("pace", lambda: release.report(throughputs), _PACE_SECONDS),
            Loop("gauges", gauges.update, _GAUGE_SECONDS),
        ]
        stores = SweepStores(listings, mongo.MongoSweeps(database), mongo.MongoRemovalHolds(database))
        metrics = SweepMetrics(registry)
        for feed in feeds.values():
            reader = _reader(feed)
            if reader:
                closing.push_async_callback(reader.aclose)
            sweeper = Sweeper(feed, reader, stores, lease, publisher, utc_now, metrics)
            # It waits for an MLS, and may be cancelled anywhere.
            loops.append(Loop(f"sweep {feed.name}", sweeper.round, _SWEEP_SECONDS, is_cancellable=True))
        await work(settings, settings.scheduler_port, consumer, loops, health, stop)
        await lease.give_back()


def _reader(feed: Feed) -> FeedReader | None:
    if not feed.reso_url:
        return None
    return FeedReader(feed, MlsClient(feed, read_secret(feed.reso_token_env) if feed.reso_token_env else ""))
