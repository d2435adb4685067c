"""Publishing records to Kafka."""

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.events.records import Headers
from shared.events.topics import MAX_RECORD_BYTES
from shared.kafka.clients import METADATA_MAX_AGE_MS, errors_translated
from shared.kafka.unsent import UnsentRecords


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A Kafka record to publish; `topic` is the topic's full name, and key and value are bytes or None."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Broker:
    """Publishes records to Kafka for one process. `bootstrap` names the Kafka servers.

    The connection is made at the first call that needs it. Call `close` before the process ends.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._unsent = UnsentRecords()

    async def publish(self, records: Iterable[Outgoing]) -> None:
        """Publish records to Kafka in order, and return once Kafka has stored all of them.

        Raises BrokerUnavailable if Kafka does not store a record; other records of the call may be stored nevertheless.
        """
        with self._unsent.waiting(), errors_translated():
            await self._publish(records)

    async def _publish(self, records: Iterable[Outgoing]) -> None:
        producer = await self._connected_producer()
        try:
            stored = [await _send(producer, record) for record in records]
            await asyncio.gather(*stored)
        except KafkaError:
            # An idempotent producer numbers the records of a partition. If a record is refused for good, Kafka refuses
            # all later ones too, because their numbers no longer follow each other.
            self._retire(producer)
            raise

    @property
    def oldest_unsent_seconds(self) -> float:
        """How many seconds the oldest record has waited for Kafka to store it; 0 if no record waits.

        A record that could not be published counts as waiting until a later record is stored, or for a minute after the
        last failure.
        """
        return self._unsent.oldest_seconds

    async def ping(self) -> None:
        """Raise BrokerUnavailable if Kafka cannot be reached or does not answer in time; otherwise do nothing.

        Kafka has three seconds to answer once the connection is made.
        """
        with errors_translated():
            producer = await self._connected_producer()
            async with asyncio.timeout(3):
                await producer.client.fetch_all_metadata()

    async def _connected_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=2,
                    max_request_size=2 * MAX_RECORD_BYTES,
                    request_timeout_ms=10_000,
                    metadata_max_age_ms=METADATA_MAX_AGE_MS,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    def _retire(self, producer: AIOKafkaProducer) -> None:
        """Make the next call connect a new producer, and stop this one in the background."""
        if producer is not self._producer:
            return
        self._producer = None
        task = asyncio.create_task(_stop(producer))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """Send the buffered records to Kafka and disconnect; do nothing if no connection was made.

        Raises BrokerUnavailable if Kafka does not answer.
        """
        for task in self._retiring:
            task.cancel()
        if self._producer is not None:
            with errors_translated():
                await self._producer.stop()


async def _stop(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError, OSError):
        await producer.stop()


async def _send(producer: AIOKafkaProducer, record: Outgoing) -> Awaitable[object]:
    """Put a record into the producer's buffer; return an awaitable that is done once Kafka has stored the record."""
    headers = list(record.headers)
    if record.key is not None or record.value is not None:
        stored = await producer.send(record.topic, value=record.value, key=record.key, headers=headers)
    else:  # aiokafka's `send` refuses a record without key and value; other producers make them, so dead letters do too
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=headers)
        partition = min(await producer.partitions_for(record.topic))
        stored = await producer.send_batch(batch, record.topic, partition=partition)
    return cast("Awaitable[object]", stored)
