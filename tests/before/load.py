"""Load a dump into servers: into the database, topics and buckets of a namespace."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from io import BytesIO
from pathlib import PurePath

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import RecordMetadata
from pymongo import AsyncMongoClient, IndexModel

from tests.before.files import CONTENT_TYPES, GROUPS, Dump, Line
from tests.before.save import storage
from tests.servers import Namespace


async def load(dump: Dump, namespace: Namespace) -> None:
    """Load the whole dump into an empty namespace, with the indexes and topics that the old code created.

    Records get the broker's present time, because it deletes records that are older than the topic's retention.
    """
    appended_at = await load_records(dump, namespace)
    await load_offsets(dump, namespace)
    await load_documents(dump, namespace.servers.mongo, namespace.db, appended_at)
    load_objects(dump, namespace)


async def load_documents(
    dump: Dump,
    uri: str,
    db: str,
    appended_at: dict[tuple[int, int], int] | None = None,
    *,
    with_indexes: bool = True,
) -> None:
    """Insert every document, then create every index: with some of them the server deletes expired documents.

    `appended_at` says when each dead letter was appended, in milliseconds, by partition and offset: the marks of
    dead letters name that time.
    """
    documents, indexes = defaultdict[str, list[Line]](list), defaultdict[str, list[Line]](list)
    for line in dump.read("documents"):
        if "index" in line:
            indexes[line["collection"]].append(line["index"])
        else:
            documents[line["collection"]].append(line["document"])
    if appended_at:
        documents["dead_letters"] = [_marked_at(letter, appended_at) for letter in documents["dead_letters"]]
    async with AsyncMongoClient[Line](uri, tz_aware=True) as client:
        for name, found in documents.items():
            await client[db][name].insert_many(found)
        for name, found in indexes.items() if with_indexes else ():
            await client[db][name].create_indexes([_index(definition) for definition in found])


def _index(described: Line) -> IndexModel:
    options = {name: value for name, value in described.items() if name not in {"v", "key", "ns"}}
    return IndexModel([(name, int(direction)) for name, direction in described["key"].items()], **options)


def _marked_at(mark: Line, appended_at: dict[tuple[int, int], int]) -> Line:
    at = datetime.fromtimestamp(appended_at[mark["partition"], mark["offset"]] / 1000, UTC)
    return {**mark, "_id": f"{mark['partition']}/{mark['offset']}/{at.isoformat()}", "at": at}


def load_objects(dump: Dump, namespace: Namespace) -> None:
    """Create both buckets and store every object in the bucket that it came from."""
    client = storage(namespace.servers)
    buckets = {"public": namespace.bucket, "originals": namespace.originals_bucket}
    for name in buckets.values():
        client.make_bucket(name)
    for stored in dump.read("objects"):
        client.put_object(
            buckets[stored["bucket"]],
            stored["key"],
            BytesIO(stored["body"]),
            len(stored["body"]),
            CONTENT_TYPES[PurePath(stored["key"]).suffix],
            {"Cache-Control": "public, max-age=31536000, immutable"},
        )


async def load_records(dump: Dump, namespace: Namespace) -> dict[tuple[int, int], int]:
    """Create every topic and append its records at the offsets that they had.

    Returns when each dead letter was appended, in milliseconds, by partition and offset.
    """
    lines = list(dump.read("records"))
    topics = [
        NewTopic(f"{namespace.prefix}{line['topic']}", line["partitions"], 1, topic_configs=line["config"])
        for line in lines
        if "topic" in line
    ]
    admin = AIOKafkaAdminClient(bootstrap_servers=namespace.servers.kafka)
    await admin.start()
    await admin.create_topics(topics)
    await admin.close()
    appended_at: dict[tuple[int, int], int] = {}
    async with AIOKafkaProducer(bootstrap_servers=namespace.servers.kafka, linger_ms=5) as producer:
        sent = [(line, await _send(producer, namespace, line)) for line in lines if "record" in line]
        for line, sending in sent:
            done = await sending
            assert done.offset == line["offset"], line
            if line["record"] == "dead-letter":
                appended_at[done.partition, done.offset] = done.timestamp
    return appended_at


async def _send(producer: AIOKafkaProducer, namespace: Namespace, line: Line) -> "asyncio.Future[RecordMetadata]":
    headers = list(line["headers"].items())
    topic = f"{namespace.prefix}{line['record']}"
    sending: asyncio.Future[RecordMetadata] = await producer.send(
        topic, line["value"], line["key"], line["partition"], headers=headers
    )
    return sending


async def load_offsets(dump: Dump, namespace: Namespace) -> None:
    """Commit for each consumer group the offsets that it had committed in the dump."""
    for group in GROUPS:
        read = {
            TopicPartition(f"{namespace.prefix}{line['topic']}", line["partition"]): line["offset"]
            for line in dump.read("offsets")
            if line["group"] == group
        }
        async with AIOKafkaConsumer(
            bootstrap_servers=namespace.servers.kafka, group_id=f"{namespace.prefix}{group}", enable_auto_commit=False
        ) as consumer:
            consumer.assign(list(read))
            await consumer.commit(read)
