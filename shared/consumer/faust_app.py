"""Creates the Faust app of a service, for at-least-once delivery, and counts the records that it has yet to read."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import faust
from faust.transport.drivers.aiokafka import IllegalStateError

from shared.consumer.faust_transport import FaustTransport
from shared.kafka import METADATA_MAX_AGE_MS, BrokerUnavailable
from shared.settings import Settings, worker_name

_ANSWER_SECONDS = 10.0


def create(settings: Settings, service: str) -> "faust.App":
    """Return a Faust app for the service `service`, not started yet. The app delivers each record at least once.

    The app's Kafka consumer group is named by the topic prefix and the service's name. `settings` names the Kafka
    servers.
    """
    port = getattr(settings, f"{service}_port")
    app = faust.App(
        f"{settings.topic_prefix}{service}",
        broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        broker_max_poll_records=100,
        broker_commit_interval=1,
        broker_commit_every=50,
        broker_rebalance_timeout=60,
        # Static membership: a worker that was killed and comes back goes on at once, without a rebalance.
        consumer_group_instance_id=worker_name(settings, service),
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        consumer_max_fetch_size=4 * 1024 * 1024,
        processing_guarantee="at_least_once",
        stream_buffer_maxsize=64,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_acks=-1,
        web_enabled=False,
        worker_redirect_stdouts=False,
        autodiscover=False,
        datadir=str(Path(tempfile.gettempdir()) / f"faust-{service}-{port}"),
    )
    app.transport = FaustTransport(app.conf.broker_consumer, app)
    return app


def add_agent(app: "faust.App", topic: str, run: "Callable[[faust.Stream[bytes]], Awaitable[None]]") -> None:
    """Make the app call `run` with the stream of a topic's records, once the app is started.

    `topic` is the full name. Keys and values of the records stay bytes. `run` must read the stream without end. Call
    this function before the app is started.
    """
    channel = app.topic(
        topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True
    )

    async def agent(stream: "faust.Stream[bytes]") -> None:
        await run(stream)

    app.agent(channel, name=f"{topic}-agent", concurrency=1)(agent)


async def lag(app: "faust.App") -> Mapping[str, int] | None:
    """Ask Kafka how many records the app has yet to read in its assigned partitions; return them by full topic name.

    Return None if no partition is assigned, or if one is revoked during the call. Raises BrokerUnavailable if Kafka
    does not answer within ten seconds.
    """
    partitions = app.consumer.assignment()
    if not partitions:
        return None
    unread: Counter[str] = Counter()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            for partition, end in (await app.consumer.highwaters(*partitions)).items():
                unread[partition.topic] += max(0, (end or 0) - (await app.consumer.position(partition) or 0))
    except TimeoutError:
        raise BrokerUnavailable(f"Kafka did not say within {_ANSWER_SECONDS:.0f} s how much there is to read") from None
    except IllegalStateError:
        return None
    return unread
