"""Context managers for aiokafka's clients, which raise BrokerUnavailable in place of aiokafka's exceptions."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from shared.events.topics import MAX_RECORD_BYTES

CREATE_HINT = "create what is missing with: imagectl init"
METADATA_MAX_AGE_MS = 30_000
"""After how many milliseconds a client asks Kafka for the topics' partitions again, and so finds new ones."""


class BrokerUnavailable(Exception):
    """Raised if Kafka cannot be reached or refuses a request. The same call may succeed later."""


@asynccontextmanager
async def connected_reader(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a connected Kafka consumer that is in no consumer group and has no partitions assigned.

    `bootstrap` names the Kafka servers. The consumer is stopped when the context ends. Raises BrokerUnavailable if
    Kafka cannot be reached; errors of aiokafka in the context are turned into BrokerUnavailable, too.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        retry_backoff_ms=20,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * MAX_RECORD_BYTES,
    )
    with errors_translated():
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()


@asynccontextmanager
async def connected_admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a connected Kafka client that manages topics and consumer groups.

    `bootstrap` names the Kafka servers. The client is closed when the context ends. Raises BrokerUnavailable if Kafka
    cannot be reached; errors of aiokafka in the context are turned into BrokerUnavailable, too.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    with errors_translated():
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


@contextmanager
def errors_translated() -> Iterator[None]:
    """Turn errors of aiokafka, of connections and timeouts that leave the context into BrokerUnavailable."""
    try:
        yield
    except UnknownTopicOrPartitionError as error:
        raise BrokerUnavailable(f"Kafka: a topic is missing; {CREATE_HINT}") from error
    except (KafkaError, OSError, TimeoutError) as error:
        name = type(error).__name__
        raise BrokerUnavailable(f"Kafka: {name}: {str(error).removeprefix(f'{name}: ')}") from error
