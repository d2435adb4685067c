"""The door to Kafka for all but consuming workers: publishing, following a topic from its end, topics themselves."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from shared.events.records import Headers, Record
from shared.events.topics import MOST_BYTES, Topic


class BrokerUnavailable(Exception):
    """Kafka could not be reached or refused the record; the same call may succeed later."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to publish; `topic` is the full name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Broker:
    """One producer for a process. `publish` returns once the broker has every record."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def publish(self, records: Iterable[Outgoing]) -> None:
        """Publish in order and wait for all. Raises BrokerUnavailable; some of the records may have been taken then."""
        with _translated():
            producer = await self._started()
            sent = [
                await producer.send(record.topic, value=record.value, key=record.key, headers=list(record.headers))
                for record in records
            ]
            await asyncio.gather(*sent)

    async def ping(self) -> None:
        """Raise BrokerUnavailable while no broker answers."""
        with _translated():
            producer = await self._started()
            async with asyncio.timeout(3):
                await producer.client.fetch_all_metadata()

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=2,
                    max_request_size=2 * MOST_BYTES,
                    request_timeout_ms=10_000,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Send what is buffered and disconnect."""
        if self._producer is not None:
            with _translated():
                await self._producer.stop()


@asynccontextmanager
async def follow(bootstrap: str, topics: Sequence[str]) -> AsyncIterator[AsyncIterator[Record]]:
    """Follow topics from their end, in no group: each follower hears every record. Raises BrokerUnavailable."""
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=bootstrap, auto_offset_reset="latest", enable_auto_commit=False
    )
    with _translated():
        try:
            await consumer.start()
            await consumer.seek_to_end()
            yield _records(consumer)
        finally:
            await consumer.stop()


async def _records(consumer: AIOKafkaConsumer) -> AsyncIterator[Record]:
    async for message in consumer:
        at = datetime.fromtimestamp(message.timestamp / 1000, UTC)
        yield Record(message.topic, message.partition, message.offset, at, message.key, message.value)


async def missing_topics(bootstrap: str, names: Sequence[str]) -> list[str]:
    """Return which of the topics do not exist. Raises BrokerUnavailable."""
    async with _admin(bootstrap) as admin:
        existing = set(await admin.list_topics())
    return [name for name in names if name not in existing]


async def apply_topics(bootstrap: str, prefix: str, manifest: Sequence[Topic]) -> dict[str, str]:
    """Create the topics that are missing and set the retention of all; return what was done, by full name."""
    async with _admin(bootstrap) as admin:
        existing = set(await admin.list_topics())
        done: dict[str, str] = {}
        for topic in manifest:
            name = f"{prefix}{topic.name}"
            done[name] = "unchanged" if name in existing else await _create(admin, name, topic)
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, f"{prefix}{topic.name}", topic.full_config) for topic in manifest]
        )
    return done


async def _create(admin: AIOKafkaAdminClient, name: str, topic: Topic) -> str:
    # -1: as many replicas as the broker's default.
    new = NewTopic(name, topic.partitions, -1, topic_configs=topic.full_config)
    try:
        await admin.create_topics([new])
    except TopicAlreadyExistsError:
        return "unchanged"
    return "created"


async def lag(bootstrap: str, group: str, topics: Sequence[str]) -> dict[str, int]:
    """Return how many records of each topic a group has not committed yet. Raises BrokerUnavailable."""
    async with _admin(bootstrap) as admin:
        committed = await admin.list_consumer_group_offsets(group)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    with _translated():
        await consumer.start()
        try:
            partitions = [
                TopicPartition(topic, number)
                for topic in topics
                for number in consumer.partitions_for_topic(topic) or ()
            ]
            ends = await consumer.end_offsets(partitions)
            begins = await consumer.beginning_offsets(partitions)
        finally:
            await consumer.stop()
    behind = dict.fromkeys(topics, 0)
    for partition, end in ends.items():
        done = committed[partition].offset if partition in committed else -1
        behind[partition.topic] += end - max(done, begins[partition])
    return behind


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    with _translated():
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as fault:
        raise BrokerUnavailable(f"Kafka: {type(fault).__name__}: {fault}") from fault
