"""The door to Kafka for all but consuming workers: publishing, following a topic from its end, topics themselves."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, NoError, TopicAlreadyExistsError, for_code

from shared.events.records import Headers, Record
from shared.events.topics import MOST_BYTES, Topic

_REPLICAS = 3
"""As many copies of a topic, where there are as many brokers."""


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
        replicas = min(_REPLICAS, len((await admin.describe_cluster())["brokers"]))
        done: dict[str, str] = {}
        for topic in manifest:
            name = f"{prefix}{topic.name}"
            done[name] = "unchanged" if name in existing else await _create(admin, name, topic, replicas)
        answers = await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, f"{prefix}{topic.name}", topic.full_config) for topic in manifest]
        )
        for code, *_, name in (resource for answer in answers for resource in answer.resources):
            if code:
                raise for_code(code)(f"the settings of {name} cannot be changed")
    return done


async def _create(admin: AIOKafkaAdminClient, name: str, topic: Topic, replicas: int) -> str:
    new = NewTopic(name, topic.partitions, replicas, topic_configs=topic.full_config)
    answer = await admin.create_topics([new])
    error = for_code(answer.topic_errors[0][1])
    if error is TopicAlreadyExistsError:
        return "unchanged"
    if error is not NoError:
        raise error(f"{name} cannot be created")
    return "created"


async def lag(bootstrap: str, group: str, topics: Sequence[str]) -> dict[str, int]:
    """Return how many records of each topic a group has not committed yet. Raises BrokerUnavailable."""
    async with _admin(bootstrap) as admin:
        try:
            committed = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:  # no group has ever committed to this Kafka
            committed = {}
    behind = dict.fromkeys(topics, 0)
    for partition, (begin, end) in (await _extent(bootstrap, topics)).items():
        done = committed[partition].offset if partition in committed else -1
        behind[partition.topic] += end - max(done, begin)
    return behind


async def size(bootstrap: str, topic: str) -> int:
    """Return how many records a topic holds. Raises BrokerUnavailable."""
    return sum(end - begin for begin, end in (await _extent(bootstrap, [topic])).values())


async def _extent(bootstrap: str, topics: Sequence[str]) -> dict[TopicPartition, tuple[int, int]]:
    """Return the first offset and the next one of every partition."""
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, enable_auto_commit=False)
    with _translated():
        try:
            await consumer.start()
            partitions = sorted(consumer.assignment())
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        finally:
            await consumer.stop()
    return {partition: (begins[partition], ends[partition]) for partition in partitions}


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
        name = type(fault).__name__
        raise BrokerUnavailable(f"Kafka: {name}: {str(fault).removeprefix(f'{name}: ')}") from fault
