"""The door to Faust: batches of raw records go to a handler, and are acknowledged in order once it is done with them.

Faust's own `take` acknowledges a batch even where its handler failed, and commits past work under way when an agent
runs concurrently; it also looks for records a hundred times a second. Here what is not done is delivered again.
"""

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import faust
from faust.transport.drivers import aiokafka as transport
from prometheus_client import CollectorRegistry, Counter, Gauge

from shared import log
from shared.dead_letters import DeadLetters
from shared.events.records import Record
from shared.kafka import BrokerUnavailable
from shared.progress import Progress
from shared.settings import Settings, worker_name
from shared.stores.errors import Contention, StoreUnavailable

Handle = Callable[[Sequence[Record]], Awaitable[None]]

_logger = log.get(__name__)
_LONGEST_WAIT = 5.0
_ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic and what is done with its records: up to `batch` at a time, up to `batches` at once."""

    topic: str
    handle: Handle
    batch: int = 10
    batches: int = 1
    within_seconds: float = 0.03


class Consumer:
    """The lanes of one service, as one Faust app."""

    def __init__(
        self,
        settings: Settings,
        service: str,
        subscriptions: Sequence[Subscription],
        dead_letters: DeadLetters,
        registry: CollectorRegistry,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dead_letters = dead_letters
        self._stopping = asyncio.Event()
        self._monotonic = monotonic
        self._at_work: dict[asyncio.Task[None], str] = {}
        self._waiting = 0
        self._done: defaultdict[str, int] = defaultdict(int)
        self._records = Counter("listing_images_records", "Records read and finished", ["topic"], registry=registry)
        self._lag = Gauge(
            "listing_images_lag", "Records of this worker's share yet to read", ["topic"], registry=registry
        )
        self.topics = [settings.topic(lane.topic) for lane in subscriptions]
        self._progress = {topic: Progress(0, monotonic()) for topic in self.topics}
        for topic in self.topics:
            self._records.labels(topic)  # from none on: what never finished a record is seen to stand still
        self.app = _faust_app(settings, service)
        for lane in subscriptions:
            self._add(lane, settings.topic(lane.topic))

    async def start(self) -> None:
        """Join the group and begin."""
        await self.app.start()

    async def stop(self, within_seconds: float) -> None:
        """Begin nothing new, finish what is in hand, leave the group. What is unfinished by then is delivered again."""
        self._stopping.set()
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=within_seconds)
        await self.app.stop()

    @property
    def has_crashed(self) -> bool:
        """Whether Faust gave up; the process should end and be started again."""
        return bool(self.app.crashed)

    @property
    def stuck(self) -> Sequence[str]:
        """The topics that have records of which none has been finished for long, though no infrastructure is away."""
        return [topic for topic, progress in self._progress.items() if progress.is_stuck(self._monotonic())]

    async def look(self) -> None:
        """Ask the broker what there is to read: a consumer that died silently does not know itself.

        Raises BrokerUnavailable.
        """
        if self._stopping.is_set() or not (partitions := self.app.consumer.assignment()):
            return
        lag = dict.fromkeys(self.topics, 0)
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                for partition, end in (await self.app.consumer.highwaters(*partitions)).items():
                    lag[partition.topic] += max(0, (end or 0) - (await self.app.consumer.position(partition) or 0))
        except TimeoutError:
            raise BrokerUnavailable(
                f"Kafka did not say within {_ASK_SECONDS:.0f} s how much there is to read"
            ) from None
        except transport.IllegalStateError:
            return  # a partition was taken away meanwhile
        for topic, records in lag.items():
            self._lag.labels(topic).set(records)
            has_work = records > 0 or topic in self._at_work.values()
            self._progress[topic] = self._progress[topic].seen(
                self._done[topic], has_work=has_work, is_waiting=self._waiting > 0, now=self._monotonic()
            )

    def _add(self, lane: Subscription, topic: str) -> None:
        channel = self.app.topic(
            topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True
        )

        async def agent(stream: "faust.Stream[bytes]") -> None:
            await self._consume(stream, lane)

        self.app.agent(channel, name=f"{topic}-agent", concurrency=1)(agent)

    async def _consume(self, stream: "faust.Stream[bytes]", lane: Subscription) -> None:
        stream.enable_acks = False  # else the next event acknowledges the one before it
        arrived: asyncio.Queue[faust.Event] = asyncio.Queue(lane.batch)
        begun: asyncio.Queue[tuple[asyncio.Task[None], Sequence[faust.Event]]] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._begin(lane, arrived, begun))
            tasks.create_task(self._acknowledge(stream, begun))
            async for event in stream.events():
                await arrived.put(event)

    async def _begin(
        self,
        lane: Subscription,
        arrived: "asyncio.Queue[faust.Event]",
        begun: "asyncio.Queue[tuple[asyncio.Task[None], Sequence[faust.Event]]]",
    ) -> None:
        """Begin a batch whenever there is room for one more."""
        room = asyncio.Semaphore(lane.batches)
        while True:
            await room.acquire()  # first: what arrives until there is room goes into one batch
            events = await _batch(arrived, lane)
            if self._stopping.is_set():
                return
            task = asyncio.create_task(self._handle(lane, [_record(event) for event in events]))
            self._at_work[task] = events[0].message.topic
            task.add_done_callback(self._at_work.pop)
            task.add_done_callback(lambda _: room.release())
            begun.put_nowait((task, events))

    async def _acknowledge(
        self, stream: "faust.Stream[bytes]", begun: asyncio.Queue[tuple[asyncio.Task[None], Sequence[faust.Event]]]
    ) -> None:
        """Acknowledge batches in the order in which they were taken: nothing is committed past work under way."""
        while True:
            task, events = await begun.get()
            await asyncio.wait([task])
            if task.cancelled() or task.exception():
                return
            for event in events:
                await stream.ack(event)
                self._records.labels(event.message.topic).inc()
                self._done[event.message.topic] += 1

    async def _handle(self, lane: Subscription, records: Sequence[Record]) -> None:
        """See a batch through: infrastructure that is away is waited for, a bug costs the one record that meets it."""
        wait = 0.2
        while True:
            try:
                return await lane.handle(records)
            except (StoreUnavailable, BrokerUnavailable) as fault:
                _logger.warning("waiting-for-infrastructure", topic=lane.topic, error=str(fault), seconds=wait)
            except Contention as error:
                _logger.warning("batch-contended", topic=lane.topic, error=str(error), seconds=wait)
            except Exception as fault:
                _logger.exception("handler-failed", topic=lane.topic, records=len(records))
                if len(records) > 1:
                    for record in records:
                        await self._handle(lane, [record])
                    return None
                await self._give_up(records[0], fault)
                return None
            await self._wait(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _wait(self, seconds: float) -> None:
        """Wait for infrastructure that is away; that is no standstill of our own."""
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1

    async def _give_up(self, record: Record, fault: Exception) -> None:
        wait = 0.2
        while True:
            try:
                return await self._dead_letters.put(record, f"internal error: {type(fault).__name__}")
            except BrokerUnavailable:
                await self._wait(wait)
                wait = min(wait * 2, _LONGEST_WAIT)


async def _batch(arrived: "asyncio.Queue[faust.Event]", lane: Subscription) -> list["faust.Event"]:
    """Wait for an event, and a moment for more."""
    events = [await arrived.get()]
    with suppress(TimeoutError):
        async with asyncio.timeout(lane.within_seconds):
            while len(events) < lane.batch:
                events.append(await arrived.get())
    return events


def _record(event: "faust.Event") -> Record:
    message = event.message
    at = datetime.fromtimestamp(message.timestamp, UTC)
    headers = tuple(message.headers or ())
    return Record(message.topic, message.partition, message.offset, at, message.key, message.value, headers)


class _Consumer(transport.Consumer):  # type: ignore[misc]
    """Faust's own, but it begins anew where nothing was committed yet.

    What is fetched while partitions are handed out is thrown away, and read again from what was committed. A partition
    without that was left wherever it had been read to, and what lay before was never delivered.
    """

    __module__ = transport.__name__  # Faust names its logger by it, and is kept quiet

    async def seek_to_committed(self) -> Mapping["faust.types.TP", int]:
        committed: Mapping[faust.types.TP, int] = await super().seek_to_committed()
        if uncommitted := [partition for partition, offset in committed.items() if not offset]:
            with suppress(transport.IllegalStateError):  # it was taken away meanwhile
                await self._thread.seek_to_beginning(*uncommitted)
        return committed


class _Transport(transport.Transport):  # type: ignore[misc]
    Consumer = _Consumer


def _faust_app(settings: Settings, service: str) -> "faust.App":
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
    app.transport = _Transport(app.conf.broker_consumer, app)
    return app
