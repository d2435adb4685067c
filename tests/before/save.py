"""Save all data of a stopped system: documents, indexes, objects, records, and committed offsets."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from minio import Minio
from pymongo import AsyncMongoClient

from shared.events.topics import MANIFEST
from tests.before.files import GROUPS, Dump, Line
from tests.servers import Namespace, Servers


async def save(namespace: Namespace, dump: Dump) -> None:
    """Write all data of the namespace into the dump's folder."""
    dump.write("documents", [line async for line in documents(namespace)])
    dump.write("objects", objects(namespace))
    dump.write("records", [line async for line in records(namespace)])
    dump.write("offsets", [line async for line in offsets(namespace)])


async def documents(namespace: Namespace) -> AsyncIterator[Line]:
    """Yield each index and each document, by collection."""
    async with AsyncMongoClient[Line](namespace.servers.mongo, tz_aware=True) as client:
        database = client[namespace.db]
        for name in sorted(await database.list_collection_names()):
            async for index in await database[name].list_indexes():
                if index["name"] != "_id_":
                    yield {"collection": name, "index": index}
            async for document in database[name].find({}, sort=[("_id", 1)]):
                yield {"collection": name, "document": document}


def storage(servers: Servers) -> Minio:
    """Return a client of the servers' object storage."""
    endpoint = urlsplit(servers.s3_endpoint)
    return Minio(endpoint.netloc, servers.s3_access_key, servers.s3_secret_key, secure=endpoint.scheme == "https")


def objects(namespace: Namespace) -> Iterator[Line]:
    """Yield each object of both buckets."""
    client = storage(namespace.servers)
    for bucket, name in (("public", namespace.bucket), ("originals", namespace.originals_bucket)):
        for found in client.list_objects(name, recursive=True):
            with client.get_object(name, str(found.object_name)) as answer:
                yield {"bucket": bucket, "key": found.object_name, "body": answer.read()}


async def records(namespace: Namespace) -> AsyncIterator[Line]:
    """Yield each topic, followed by its records in the order of their partitions and offsets."""
    for topic in MANIFEST:
        yield {"topic": topic.name, "partitions": topic.partitions, "config": topic.full_config}
        async with AIOKafkaConsumer(
            f"{namespace.prefix}{topic.name}", bootstrap_servers=namespace.servers.kafka, auto_offset_reset="earliest"
        ) as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            found = [await consumer.getone(at) for at, end in ends.items() for _ in range(end)]
        for record in sorted(found, key=lambda record: (record.partition, record.offset)):
            line = {name: getattr(record, name) for name in ("partition", "offset", "timestamp", "key", "value")}
            yield {"record": topic.name, **line, "headers": dict(record.headers)}


async def offsets(namespace: Namespace) -> AsyncIterator[Line]:
    """Yield the committed offset of each consumer group (named by its service), topic and partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=namespace.servers.kafka)
    await admin.start()
    try:
        for group in GROUPS:
            found = await admin.list_consumer_group_offsets(f"{namespace.prefix}{group}")
            for at, committed in sorted(found.items()):
                topic = at.topic.removeprefix(namespace.prefix)
                yield {"group": group, "topic": topic, "partition": at.partition, "offset": committed.offset}
    finally:
        await admin.close()
