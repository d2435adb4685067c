"""The door to Kafka for all but consuming workers: publishing, following a topic from its end, topics themselves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from shared.events.records import Headers, Record
from shared.events.topics import MAX_RECORD_BYTES, Topic

_CREATE = "create what is missing with: imagectl init"
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
            sent = [await _sent(producer, record) for record in records]
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
                    max_request_size=2 * MAX_RECORD_BYTES,
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


async def _sent(producer: AIOKafkaProducer, record: Outgoing) -> Awaitable[object]:
    """Hand a record over; return what ends once the broker has it."""
    headers = list(record.headers)
    if record.key is not None or record.value is not None:
        sent = await producer.send(record.topic, value=record.value, key=record.key, headers=headers)
    else:  # aiokafka sends what has neither in a batch only; others do, and as a dead letter it stays as it was
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=headers)
        partition = min(await producer.partitions_for(record.topic))
        sent = await producer.send_batch(batch, record.topic, partition=partition)
    return cast("Awaitable[object]", sent)


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Records of one partition, from the offset `start` to the one before `end`."""

    partition: int
    start: int
    end: int


async def offset_ranges(
    bootstrap: str, topic: str, since: datetime | None, until: datetime | None
) -> list[OffsetRange]:
    """Return where the records of a time lie, by their timestamps; null is the beginning, or the end as it is now.

    Raises BrokerUnavailable.
    """
    async with _asker(bootstrap, [topic]) as (consumer, partitions):
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        starts = await _offsets_at(consumer, partitions, since, begins, ends)
        stops = await _offsets_at(consumer, partitions, until, ends, ends)
    return [
        OffsetRange(one.partition, max(starts[one], begins[one]), stops[one])
        for one in partitions
        if starts[one] < stops[one]
    ]


async def _offsets_at(
    consumer: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    at: datetime | None,
    otherwise: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> Mapping[TopicPartition, int]:
    """Return the first offset at or after the time; the end where there is none."""
    if at is None:
        return otherwise
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, int(at.timestamp() * 1000)))
    return {one: found[one].offset if found.get(one) else ends[one] for one in partitions}


async def read(bootstrap: str, topic: str, wanted: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
    """Read just these records, batch by batch, each partition in its order, and end. Raises BrokerUnavailable."""
    if not wanted:
        return
    ends = {TopicPartition(topic, span.partition): span.end for span in wanted}
    async with _reader(bootstrap) as consumer:
        consumer.assign(list(ends))
        for span in wanted:
            consumer.seek(TopicPartition(topic, span.partition), span.start)
        while ends:
            batches = await consumer.getmany(*ends, timeout_ms=500, max_records=500)
            for partition, messages in batches.items():
                yield [_record(message) for message in messages if message.offset < ends[partition]]
            # By position, not by offset: what expired meanwhile, and markers of transactions, are no records.
            ends = {one: end for one, end in ends.items() if await consumer.position(one) < end}


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
        yield _record(message)


def _record(message: ConsumerRecord) -> Record:
    at = datetime.fromtimestamp(message.timestamp / 1000, UTC)
    headers = tuple(message.headers)
    return Record(message.topic, message.partition, message.offset, at, message.key, message.value, headers)


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


async def topic_differences(bootstrap: str, prefix: str, manifest: Sequence[Topic]) -> dict[str, list[str]]:
    """Return how each topic differs from the manifest, by full name, changing nothing. Raises BrokerUnavailable."""
    names = {f"{prefix}{topic.name}": topic for topic in manifest}
    async with _admin(bootstrap) as admin:
        existing = set(await admin.list_topics())
        there = [name for name in names if name in existing]
        partitions = (
            {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics(there)} if there else {}
        )
        configs = await _configs(admin, there) if there else {}
    return {
        name: _differences(topic, partitions[name], configs[name]) if name in there else ["it is missing"]
        for name, topic in names.items()
    }


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    resources = [resource for answer in answers for resource in answer.resources]
    return {name: {entry[0]: str(entry[1]) for entry in entries} for _, _, _, name, entries in resources}


def _differences(topic: Topic, partitions: int, config: Mapping[str, str]) -> list[str]:
    faults = [
        f"{key} is {config.get(key)}, not {value}"
        for key, value in topic.full_config.items()
        if config.get(key) != value
    ]
    if partitions < topic.partitions:
        faults.append(f"it has {partitions} partitions, not {topic.partitions}")
    return faults


async def lag_of_groups(bootstrap: str, hears: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Return how many records of each of its topics each group has not committed yet. Raises BrokerUnavailable."""
    async with _admin(bootstrap) as admin:
        committed = {group: await _committed(admin, group) for group in hears}
    extent = await _extent(bootstrap, sorted({topic for topics in hears.values() for topic in topics}))
    return {group: _behind(topics, committed[group], extent) for group, topics in hears.items()}


async def _committed(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    try:
        return {one: found.offset for one, found in (await admin.list_consumer_group_offsets(group)).items()}
    except GroupCoordinatorNotAvailableError:  # no group has ever committed to this Kafka
        return {}


def _behind(
    topics: Sequence[str],
    committed: Mapping[TopicPartition, int],
    extent: Mapping[TopicPartition, tuple[int, int]],
) -> dict[str, int]:
    behind = dict.fromkeys(topics, 0)
    for partition, (begin, end) in extent.items():
        if partition.topic in behind:
            behind[partition.topic] += end - max(committed.get(partition, -1), begin)
    return behind


async def oldest_record_at(bootstrap: str, topic: str) -> datetime | None:
    """Return when the oldest record of a topic was written; None where there is none. Raises BrokerUnavailable."""
    async with _asker(bootstrap, [topic]) as (consumer, partitions):
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, 0))
    times = [one.timestamp for one in found.values() if one]
    return datetime.fromtimestamp(min(times) / 1000, UTC) if times else None


async def _extent(bootstrap: str, topics: Sequence[str]) -> dict[TopicPartition, tuple[int, int]]:
    """Return the first offset and the next one of every partition."""
    async with _asker(bootstrap, topics) as (consumer, partitions):
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    return {partition: (begins[partition], ends[partition]) for partition in partitions}


@asynccontextmanager
async def _asker(
    bootstrap: str, topics: Sequence[str]
) -> AsyncIterator[tuple[AIOKafkaConsumer, Sequence[TopicPartition]]]:
    """A consumer to ask for offsets, and the topics' partitions.

    None is assigned to it: one that fetches brings megabytes that nobody wants, and answers only after its fetch has
    waited half a second for more.
    """
    async with _admin(bootstrap) as admin:
        found = await admin.describe_topics(list(topics))
    partitions = sorted(TopicPartition(one["topic"], each["partition"]) for one in found for each in one["partitions"])
    if missing := {*topics} - {one.topic for one in partitions}:
        raise BrokerUnavailable(f"Kafka: there is no topic {', '.join(sorted(missing))}; {_CREATE}")
    async with _reader(bootstrap) as consumer:
        yield consumer, partitions


@asynccontextmanager
async def _reader(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer in no group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        retry_backoff_ms=20,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * MAX_RECORD_BYTES,
    )
    with _translated():
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()


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
    except UnknownTopicOrPartitionError as fault:
        raise BrokerUnavailable(f"Kafka: a topic is missing; {_CREATE}") from fault
    except (KafkaError, OSError, TimeoutError) as fault:
        name = type(fault).__name__
        raise BrokerUnavailable(f"Kafka: {name}: {str(fault).removeprefix(f'{name}: ')}") from fault
