"""Which records does the consumer deliver after partitions were assigned again? On a real Kafka."""

import asyncio
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from shared.clock import utc_now
from shared.consumer import Consumer, Subscription
from shared.dead_letters import DeadLetters
from shared.events.records import Record
from shared.events.topics import IMAGE_OUTDATED, MANIFEST
from shared.kafka import Broker, Outgoing, apply_topics
from shared.settings import Settings
from tests.servers import Namespace
from tests.system import until


async def test_records_are_delivered_again_after_a_seek_although_none_was_ever_committed(namespace: Namespace) -> None:
    settings = Settings(
        kafka=namespace.servers.kafka, topic_prefix=namespace.prefix, downloader_port=namespace.ports["downloader"]
    )
    await apply_topics(settings.kafka, settings.topic_prefix, MANIFEST)
    broker, registry, read, ending = Broker(settings.kafka), CollectorRegistry(), list[int](), asyncio.Event()

    async def handle(records: Sequence[Record]) -> None:
        read.extend(record.offset for record in records)
        await ending.wait()

    dead_letters = DeadLetters(broker, settings.topic_prefix, "downloader", utc_now, registry)
    consumer = Consumer(
        settings, "downloader", [Subscription(IMAGE_OUTDATED, handle, concurrency=9)], dead_letters, registry
    )
    topic = settings.topic(IMAGE_OUTDATED)
    await broker.publish(Outgoing(topic, b"X1", value) for value in (b"a", b"b"))
    await consumer.start()
    try:
        await until(lambda: has_read(read, 2), "both records")
        await consumer.app.consumer.perform_seek()  # as after a rebalance
        await until(lambda: has_read(read, 4), "both records again")
        assert sorted(read) == [0, 0, 1, 1]
    finally:
        ending.set()
        await consumer.stop(within_seconds=5)
        await broker.close()


async def has_read(read: Sequence[int], times: int) -> bool:
    """Return True if this number of records were read."""
    return len(read) >= times
