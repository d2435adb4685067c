"""Reads records outside of any consumer group, either of a range or as they are published; measures groups' lag."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from shared.events.records import Record, time_of
from shared.kafka.clients import (
    CREATE_HINT,
    METADATA_MAX_AGE_MS,
    BrokerUnavailable,
    connected_admin,
    connected_reader,
    errors_translated,
)


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The records of one partition of a topic, from the offset `start` up to, but without, the offset `end`."""

    partition: int
    start: int
    end: int


async def offset_ranges(
    bootstrap: str, topic: str, since: datetime | None, until: datetime | None
) -> list[OffsetRange]:
    """Return, for each partition of a topic, the range of the records with timestamps from `since` to before `until`.

    `bootstrap` names the Kafka servers, `topic` is the full name. If `since` is None, the ranges begin with the first
    records; if `until` is None, they end with the records that are last now. Partitions without records in the range
    are left out. Raises BrokerUnavailable.
    """
    async with _offset_reader(bootstrap, [topic]) as (consumer, partitions):
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        starts = await _offsets_at(consumer, since, default=begins, ends=ends)
        stops = await _offsets_at(consumer, until, default=ends, ends=ends)
    return [
        OffsetRange(partition.partition, max(starts[partition], begins[partition]), stops[partition])
        for partition in partitions
        if starts[partition] < stops[partition]
    ]


async def _offsets_at(
    consumer: AIOKafkaConsumer,
    at: datetime | None,
    *,
    default: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> Mapping[TopicPartition, int]:
    """Return, for each partition in `ends`, the offset of its first record with the timestamp `at` or later.

    `ends` is, by partition, the offset after the last record; it is the result for a partition without such a record.
    If `at` is None, `default`, the caller's offsets by partition, is returned and Kafka is not asked.
    """
    if at is None:
        return default
    found = await consumer.offsets_for_times(dict.fromkeys(ends, int(at.timestamp() * 1000)))
    return {partition: found[partition].offset if found.get(partition) else end for partition, end in ends.items()}


async def read(bootstrap: str, topic: str, ranges: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
    """Yield the records of a topic in these ranges, in batches of one partition's records, and end after the last.

    `bootstrap` names the Kafka servers, `topic` is the full name. Records of one partition are in their order; batches
    of several partitions come in any order. Raises BrokerUnavailable.
    """
    if not ranges:
        return
    ends = {TopicPartition(topic, wanted.partition): wanted.end for wanted in ranges}
    async with connected_reader(bootstrap) as consumer:
        consumer.assign(list(ends))
        for wanted in ranges:
            consumer.seek(TopicPartition(topic, wanted.partition), wanted.start)
        while ends:
            batches = await consumer.getmany(*ends, timeout_ms=500, max_records=500)
            for partition, messages in batches.items():
                yield [_record(message) for message in messages if message.offset < ends[partition]]
            # By position, not by the last record's offset: expired records and transaction markers are never delivered.
            ends = {partition: end for partition, end in ends.items() if await consumer.position(partition) < end}


@asynccontextmanager
async def follow(bootstrap: str, topics: Sequence[str]) -> AsyncIterator[AsyncIterator[Record]]:
    """Yield an iterator over all records that are published to the topics from now on; the iterator never ends.

    `bootstrap` names the Kafka servers, `topics` are full names. The reader is in no consumer group, so that each
    process that follows a topic gets all records. Raises BrokerUnavailable, also while the iterator is read.
    """
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        auto_offset_reset="latest",
        enable_auto_commit=False,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )
    with errors_translated():
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
    at = time_of(message.timestamp)
    headers = tuple(message.headers)
    return Record(message.topic, message.partition, message.offset, at, message.key, message.value, headers)


async def lag_of_groups(bootstrap: str, topics_by_group: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Return how many records each consumer group has not committed yet, by the group's name and the topic's full name.

    `bootstrap` names the Kafka servers. `topics_by_group` has the full names of the topics that each group reads.
    Raises BrokerUnavailable, also if a topic does not exist.
    """
    async with connected_admin(bootstrap) as admin:
        committed = {group: await _committed(admin, group) for group in topics_by_group}
    topics = sorted({topic for topics in topics_by_group.values() for topic in topics})
    async with _offset_reader(bootstrap, topics) as (consumer, partitions):
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    lag = {group: dict.fromkeys(topics, 0) for group, topics in topics_by_group.items()}
    for partition in partitions:
        for group, by_topic in lag.items():
            if partition.topic in by_topic:
                next_offset = max(committed[group].get(partition, -1), begins[partition])
                by_topic[partition.topic] += ends[partition] - next_offset
    return lag


async def _committed(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:  # no group has ever committed to this Kafka
        return {}
    return {partition: committed.offset for partition, committed in offsets.items()}


async def oldest_record_at(bootstrap: str, topic: str) -> datetime | None:
    """Return the timestamp of the oldest record that Kafka still has of a topic; None if it has none.

    `bootstrap` names the Kafka servers, `topic` is the full name. Raises BrokerUnavailable, also if the topic does not
    exist.
    """
    async with _offset_reader(bootstrap, [topic]) as (consumer, partitions):
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, 0))
    timestamps = [first.timestamp for first in found.values() if first]
    return time_of(min(timestamps)) if timestamps else None


@asynccontextmanager
async def _offset_reader(
    bootstrap: str, topics: Iterable[str]
) -> AsyncIterator[tuple[AIOKafkaConsumer, Sequence[TopicPartition]]]:
    """Yield a Kafka consumer for queries of offsets, and all partitions of the topics.

    The partitions are not assigned to the consumer. If they were, it would fetch megabytes of records that nobody
    reads, and answer a query only after a fetch has waited half a second for more records. Raises BrokerUnavailable,
    also if a topic does not exist.
    """
    async with connected_admin(bootstrap) as admin:
        described = await admin.describe_topics(list(topics))
    partitions = sorted(
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in topic["partitions"]
    )
    if missing := {*topics} - {partition.topic for partition in partitions}:
        raise BrokerUnavailable(f"Kafka: there is no topic {', '.join(sorted(missing))}; {CREATE_HINT}")
    async with connected_reader(bootstrap) as consumer:
        yield consumer, partitions
