"""What Faust delivers when partitions are handed out again, on a real broker."""

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


async def test_what_was_read_is_delivered_again_though_nothing_was_ever_committed(namespace: Namespace) -> None:
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
        await until(lambda: came(read, 2), "both records")
        await consumer.app.consumer.perform_seek()  # as when a worker joins, or this one slept
        await until(lambda: came(read, 4), "both records again")
        assert sorted(read) == [0, 0, 1, 1]
    finally:
        ending.set()
        await consumer.stop(within_seconds=5)
        await broker.close()


async def came(read: Sequence[int], times: int) -> bool:
    """Whether so many records were read."""
    return len(read) >= times
