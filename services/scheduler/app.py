"""Builds and runs the scheduler, which records listings, releases due photos, and runs the freshness sweeps."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from services.scheduler.gauges import Gauges
from services.scheduler.release import Releaser
from services.scheduler.sweep_metrics import SweepMetrics
from services.scheduler.sweeps import Sweeper, SweepStores
from shared.clock import utc_now
from shared.consumer import Consumer, Subscription
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.events.topics import LISTING_SEEN, MANIFEST
from shared.health import Health
from shared.kafka import Broker, KafkaReadiness
from shared.lease import Lease
from shared.origin_budget.budget import OriginBudget
from shared.publisher import Publisher
from shared.recording import Recorder
from shared.render import Renderer
from shared.reso.access import ApiAccess
from shared.reso.feed_reader import FeedReader
from shared.reso.odata import MlsClient
from shared.reso.quota import ApiQuota
from shared.rivals import WorkerIdentity
from shared.runtime import Loop, work
from shared.settings import Settings, worker_name
from shared.stores import mongo

SERVICE = "scheduler"
_RELEASE_SECONDS = 0.25
_THROUGHPUT_SECONDS = 5.0
_GAUGE_SECONDS = 60.0
"""Seldom, because counting the photos of 100,000 listings takes a third of a second."""
_SWEEP_SECONDS = 1.0


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run the scheduler until `stop` is set; then drain, and end the lease on the loops.

    The scheduler records listings, releases due photos and runs the freshness sweeps. `feeds` are the feeds by name.
    """
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
        # One lease for all loops. Its name, release, is the name of the loop that existed first.
        lease = Lease(mongo.MongoLeases(database), "release", worker_name(settings, SERVICE), utc_now)
        releaser = Releaser(listings, lease, publisher, feeds, utc_now, registry)
        throughputs = mongo.MongoThroughputs(database)
        gauges = Gauges(listings, mongo.MongoLedgers(database), lease, feeds, utc_now, registry)
        stores = SweepStores(
            listings, mongo.MongoSweeps(database), mongo.MongoRemovalHolds(database), mongo.MongoPushedKeys(database)
        )
        worker = worker_name(settings, SERVICE)
        access = ApiAccess.of(database, OriginBudget(mongo.MongoLedgers(database), worker), worker)
        loops = [
            Loop("release", releaser.tick, _RELEASE_SECONDS),
            Loop("throughput", lambda: releaser.record_throughputs(throughputs), _THROUGHPUT_SECONDS),
            Loop("gauges", gauges.update, _GAUGE_SECONDS),
            *_sweep_loops(feeds, stores, lease, publisher, SweepMetrics(registry), access, closing),
        ]
        seen = Subscription(LISTING_SEEN, recorder.record, batch_size=50, concurrency=2, gather_seconds=0.05)
        consumer = Consumer(settings, SERVICE, [seen], dead_letters, registry)
        kafka = KafkaReadiness(settings.kafka, settings.topic_prefix, MANIFEST, broker)
        health = Health({"mongo": lambda: mongo.ping(database), "kafka": kafka.ping}, registry)
        identity = WorkerIdentity(mongo.MongoWorkers(database), settings, SERVICE)
        await work(settings, identity, consumer, loops, health, stop)
        await lease.release()


def _sweep_loops(
    feeds: Mapping[str, Feed],
    stores: SweepStores,
    lease: Lease,
    publisher: Publisher,
    metrics: SweepMetrics,
    access: ApiAccess,
    closing: AsyncExitStack,
) -> Iterator[Loop]:
    """Yield, for each feed, a loop that runs the feed's freshness sweeps a step at a time; the caller runs the loops.

    `feeds` are the feeds by name. `access` gives the token and the quota of each feed with an API. The connection to
    its MLS is registered in `closing`, which closes it at the end.
    """
    for feed in feeds.values():
        reader = None
        if feed.reso_url:
            client = MlsClient(feed, access.token(feed), quota=ApiQuota(feed, access.budget, utc_now))
            reader = FeedReader(feed, client)
            closing.push_async_callback(reader.aclose)
        sweeper = Sweeper(feed, reader, stores, lease, publisher, utc_now, metrics)
        # A round may wait for an MLS for minutes, and can be repeated: so it is cancelled when the process ends.
        yield Loop(f"sweep {feed.name}", sweeper.round, _SWEEP_SECONDS, is_cancellable=True)
