"""Which records does the consumer deliver after partitions were assigned again? On a real Kafka."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from prometheus_client import CollectorRegistry

from shared.clock import utc_now
from shared.consumer import Consumer, Subscription, faust_app
from shared.dead_letters import DeadLetters
from shared.events.records import Record
from shared.events.topics import IMAGE_OUTDATED, LISTING_SEEN, MANIFEST, Topic
from shared.kafka import Broker, BrokerUnavailable, KafkaReadiness, Outgoing, apply_topics, topic_differences
from shared.kafka.clients import connected_admin
from shared.kafka.topics import topic_configs
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


async def test_new_partitions_and_a_topic_that_is_made_anew_are_read(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faust_app, "METADATA_MAX_AGE_MS", 1_000)
    settings = Settings(
        kafka=namespace.servers.kafka, topic_prefix=namespace.prefix, janitor_port=namespace.ports["janitor"]
    )
    broker, registry, read = Broker(settings.kafka), CollectorRegistry(), list[bytes | None]()

    async def handle(records: Sequence[Record]) -> None:
        read.extend(record.value for record in records)

    dead_letters = DeadLetters(broker, settings.topic_prefix, "janitor", utc_now, registry)
    consumer = Consumer(settings, "janitor", [Subscription(LISTING_SEEN, handle)], dead_letters, registry)
    topic, manifest = settings.topic(LISTING_SEEN), [Topic(LISTING_SEEN, partitions=1, days=1, config={})]
    readiness = KafkaReadiness(settings.kafka, settings.topic_prefix, manifest, broker)
    with pytest.raises(BrokerUnavailable, match=f"there is no topic {topic}"):
        await readiness.ping()
    await apply_topics(settings.kafka, settings.topic_prefix, manifest)
    await readiness.ping()
    await consumer.start()
    try:
        await broker.publish([Outgoing(topic, b"X1", b"first")])
        await until(lambda: has_values(read, {b"first"}), "the first record")
        async with connected_admin(settings.kafka) as admin:
            await admin.create_partitions({topic: NewPartitions(total_count=8)})
        for number in range(8):  # to each partition, as soon as the producer knows it
            await publish_to(settings.kafka, topic, number, b"%d" % number)
        await until(lambda: has_values(read, {b"%d" % number for number in range(8)}), "records of new partitions")
        async with connected_admin(settings.kafka) as admin:
            await admin.delete_topics([topic])
        await apply_topics(settings.kafka, settings.topic_prefix, manifest)
        await until(lambda: is_ready(readiness), "the new topic to have a leader")
        await publish_to(settings.kafka, topic, 0, b"anew")
        await until(lambda: has_values(read, {b"anew"}), "the record of the new topic")
    finally:
        await consumer.stop(within_seconds=5)
        await broker.close()


async def test_applying_topics_keeps_settings_that_an_operator_gave_them(namespace: Namespace) -> None:
    kafka, manifest = namespace.servers.kafka, [Topic(LISTING_SEEN, partitions=1, days=1, config={})]
    topic = f"{namespace.prefix}{LISTING_SEEN}"
    assert await apply_topics(kafka, namespace.prefix, manifest) == {topic: "created"}
    async with connected_admin(kafka) as admin:
        operators = {"segment.ms": "123456789", "retention.ms": "5"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, operators)])
    assert await apply_topics(kafka, namespace.prefix, manifest) == {topic: "configured"}
    assert await apply_topics(kafka, namespace.prefix, manifest) == {topic: "unchanged"}
    async with connected_admin(kafka) as admin:
        config = (await topic_configs(admin, [topic]))[topic]
    assert config.own.items() >= {"segment.ms": "123456789", "retention.ms": "86400000"}.items()
    assert await topic_differences(kafka, namespace.prefix, manifest) == {topic: []}


async def publish_to(bootstrap: str, topic: str, partition: int, value: bytes) -> None:
    """Publish a record to this partition of the topic, through a producer of its own."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, value, partition=partition)


async def is_ready(readiness: KafkaReadiness) -> bool:
    """Return True if Kafka can take and deliver the records of the topic."""
    with suppress(BrokerUnavailable):
        await readiness.ping()
        return True
    return False


async def has_values(read: Sequence[bytes | None], values: set[bytes]) -> bool:
    """Return True if all these values were read."""
    return values <= set(read)


async def has_read(read: Sequence[int], times: int) -> bool:
    """Return True if this number of records were read."""
    return len(read) >= times
