"""How records become batches, when they are acknowledged, and when a topic is stuck; a list replaces Faust's stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib import metadata
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from faust.transport.consumer import ConsumerThread, ThreadDelegateConsumer
from prometheus_client import CollectorRegistry

from shared.consumer import Consumer, Handle, Subscription, faust_app, faust_transport
from shared.consumer.batches import BatchRunner
from shared.consumer.dispatch import Dispatcher
from shared.consumer.progress import STUCK_SECONDS
from shared.dead_letters import DeadLetters
from shared.events.records import Record
from shared.kafka import BrokerUnavailable
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable

NO_DEAD_LETTERS = cast("DeadLetters", None)


@dataclass
class Stream:
    """Events that arrive when a test says so; `acked` are the offsets in the order in which they were acknowledged."""

    enable_acks: bool = True
    acked: list[int] = field(default_factory=list)
    arriving: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    def arrive(self, *offsets: int) -> None:
        for offset in offsets:
            message = SimpleNamespace(
                topic="t", partition=0, offset=offset, timestamp=0.0, key=None, value=b"", headers=None
            )
            self.arriving.put_nowait(SimpleNamespace(message=message))

    async def events(self) -> AsyncIterator[Any]:
        while True:
            yield await self.arriving.get()

    async def ack(self, event: Any) -> None:
        self.acked.append(event.message.offset)


@dataclass
class Handler:
    """Notes the offsets of each batch in `started`; a batch ends when its gate is set, with the next error if any."""

    started: list[list[int]] = field(default_factory=list)
    gates: list[asyncio.Event] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    async def __call__(self, records: Sequence[Record]) -> None:
        self.started.append([record.offset for record in records])
        self.gates.append(gate := asyncio.Event())
        await gate.wait()
        if self.errors:
            raise self.errors.pop(0)


@asynccontextmanager
async def running(handle: Handle, stream: Stream, **settings: Any) -> AsyncIterator[None]:
    """Run the batches of a stream in the background."""
    subscription = Subscription("t", handle, gather_seconds=0.0, **settings)
    runner = BatchRunner(subscription, Dispatcher(NO_DEAD_LETTERS), asyncio.Event(), lambda: None)
    task = asyncio.create_task(runner.run(cast("Any", stream)))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass
class FaustConsumer:
    """Faust's consumer with one partition of each topic; `unread` is how many records of it are yet to be read."""

    unread: dict[str, int]

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(topic, 0) for topic in self.unread]

    async def highwaters(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
        return {partition: self.unread[partition.topic] for partition in partitions}

    async def position(self, _: TopicPartition) -> int:
        return 0


def a_consumer(
    subscriptions: Sequence[Subscription], faust_consumer: FaustConsumer, monotonic: Callable[[], float] = lambda: 0.0
) -> tuple[Consumer, CollectorRegistry]:
    registry = CollectorRegistry()
    consumer = Consumer(Settings(), "downloader", subscriptions, NO_DEAD_LETTERS, registry, monotonic)
    consumer.app = cast("Any", SimpleNamespace(consumer=faust_consumer))
    return consumer, registry


@pytest.mark.parametrize(
    ("unread", "finished", "stuck"),
    [
        ({"a": 3, "b": 0}, "", ["a"]),
        ({"a": 3, "b": 2}, "b", ["a"]),
        ({"a": 3, "b": 2}, "", ["a", "b"]),
        ({"a": 0, "b": 2}, "b", []),
    ],
)
async def test_a_topic_is_stuck_if_none_of_its_own_records_is_finished(
    unread: dict[str, int], finished: str, stuck: list[str]
) -> None:
    seconds = [0.0]
    subscriptions = [Subscription(topic, Handler(), gather_seconds=0.0) for topic in unread]
    consumer, registry = a_consumer(subscriptions, FaustConsumer(unread), lambda: seconds[0])
    for topic in unread:
        assert registry.get_sample_value("listing_images_records_total", {"topic": topic}) == 0
    await consumer.check_progress()
    assert consumer.stuck_topics == []
    assert {topic: registry.get_sample_value("listing_images_lag", {"topic": topic}) for topic in unread} == unread
    seconds[0] = STUCK_SECONDS + 1
    if finished:
        consumer._count_finished(finished)
    await consumer.check_progress()
    assert consumer.stuck_topics == stuck


@pytest.mark.parametrize(
    ("seconds", "position", "error"),
    [
        (60.0, 0, BrokerUnavailable("did not say")),
        (0.0, IllegalStateError("Partition t-0 is not assigned"), None),
    ],
    ids=["no answer", "a revoked partition"],
)
async def test_progress_is_checked_while_kafka_is_unavailable_or_a_partition_is_revoked(
    monkeypatch: pytest.MonkeyPatch, seconds: float, position: int | Exception, error: Exception | None
) -> None:
    class Unavailable(FaustConsumer):
        async def highwaters(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
            await asyncio.sleep(seconds)
            return await super().highwaters(*partitions)

        async def position(self, _: TopicPartition) -> int:
            if isinstance(position, Exception):
                raise position
            return position

    monkeypatch.setattr(faust_app, "_ANSWER_SECONDS", 0.05)
    consumer, _ = a_consumer([Subscription("t", Handler())], Unavailable({"t": 1}))
    with pytest.raises(type(error), match=str(error)) if error else nullcontext():
        await consumer.check_progress()


async def test_a_batch_in_flight_counts_as_work_of_its_topic_though_no_record_is_unread() -> None:
    seconds, handler, stream = [0.0], Handler(), Stream()
    subscriptions = [Subscription("t", handler, gather_seconds=0.0), Subscription("other", handler)]
    consumer, _ = a_consumer(subscriptions, FaustConsumer({"t": 0, "other": 0}), lambda: seconds[0])
    task = asyncio.create_task(consumer._runners["t"].run(cast("Any", stream)))
    stream.arrive(0)
    await wait_until(lambda: len(handler.started) == 1)
    seconds[0] = STUCK_SECONDS + 1
    await consumer.check_progress()
    assert consumer.stuck_topics == ["t"]
    handler.gates[0].set()
    await wait_until(lambda: stream.acked == [0])
    await consumer.check_progress()
    assert consumer.stuck_topics == []
    task.cancel()


async def wait_until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_true():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.002)


async def let_tasks_run() -> None:
    """Let every task go on until it waits for something else than its turn."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_records_that_arrive_while_no_batch_can_start_form_one_batch() -> None:
    stream, handler = Stream(), Handler()
    async with running(handler, stream, batch_size=4, concurrency=1):
        stream.arrive(0)
        await wait_until(lambda: handler.started == [[0]])
        for offset in (1, 2, 3, 4, 5):  # each after the time for which a batch waits for more
            stream.arrive(offset)
            await let_tasks_run()
        handler.gates[0].set()
        await wait_until(lambda: len(handler.started) == 2)
        assert handler.started[1] == [1, 2, 3, 4]


async def test_batches_end_in_any_order_and_are_acknowledged_in_the_order_of_their_start() -> None:
    stream, handler = Stream(), Handler()
    async with running(handler, stream, batch_size=2, concurrency=2):
        stream.arrive(0, 1, 2, 3)
        await wait_until(lambda: handler.started == [[0, 1], [2, 3]])
        handler.gates[1].set()
        await let_tasks_run()
        assert stream.acked == []
        handler.gates[0].set()
        await wait_until(lambda: stream.acked == [0, 1, 2, 3])
    assert not stream.enable_acks


async def test_no_more_batches_are_in_flight_than_the_concurrency_allows() -> None:
    stream, handler = Stream(), Handler()
    async with running(handler, stream, batch_size=1, concurrency=2):
        stream.arrive(0, 1, 2)
        await wait_until(lambda: len(handler.started) == 2)
        await let_tasks_run()
        assert handler.started == [[0], [1]]
        handler.gates[1].set()
        await wait_until(lambda: handler.started == [[0], [1], [2]])


async def test_a_batch_whose_store_is_unavailable_is_handled_again_and_only_then_acknowledged() -> None:
    stream, handler = Stream(), Handler(errors=[StoreUnavailable("unavailable")])
    async with running(handler, stream, batch_size=2):
        stream.arrive(0, 1)
        await wait_until(lambda: len(handler.gates) == 1)
        handler.gates[0].set()
        await wait_until(lambda: len(handler.gates) == 2)
        assert (handler.started, stream.acked) == ([[0, 1], [0, 1]], [])
        handler.gates[1].set()
        await wait_until(lambda: stream.acked == [0, 1])


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_every_record_is_handled_once_and_in_order(concurrency: int) -> None:
    handled: list[int] = []

    async def handle(records: Sequence[Record]) -> None:
        handled.extend(record.offset for record in records)
        await asyncio.sleep(0.001)

    stream = Stream()
    async with running(handle, stream, batch_size=7, concurrency=concurrency):
        stream.arrive(*range(500))
        await wait_until(lambda: len(stream.acked) == 500)
    assert handled == stream.acked == list(range(500))


@dataclass
class FaustThread:
    """The thread in which Faust runs aiokafka; `sought` are the partitions that were sought to their beginning."""

    committed: dict[TopicPartition, int | None]
    is_revoked: bool = False
    sought: list[TopicPartition] = field(default_factory=list)

    async def seek_to_committed(self) -> dict[TopicPartition, int | None]:
        return self.committed

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        if self.is_revoked:
            raise IllegalStateError("not assigned")
        self.sought.extend(partitions)


@pytest.mark.parametrize("is_revoked", [False, True])
async def test_partitions_without_a_committed_offset_are_sought_to_their_beginning(*, is_revoked: bool) -> None:
    never, zero, later = (TopicPartition("t", number) for number in range(3))
    thread = FaustThread({never: None, zero: 0, later: 7}, is_revoked)
    consumer = faust_app.create(Settings(), "downloader").consumer
    assert isinstance(consumer, faust_transport.FaustConsumer)
    consumer._thread.thread_loop.close()
    consumer._thread = thread
    assert await consumer.seek_to_committed() == thread.committed
    assert thread.sought == ([] if is_revoked else [never, zero])


def test_the_changed_transport_is_proven_on_the_installed_faust_and_aiokafka() -> None:
    """If this fails: shared/consumer/faust_transport.py says what to do."""
    installed = {name: metadata.version(name) for name in faust_transport.PROVEN_ON}
    assert installed == faust_transport.PROVEN_ON
    assert "_thread" in ThreadDelegateConsumer.__annotations__
    assert "seek_to_beginning" in vars(ConsumerThread)
    assert "seek_to_committed" in vars(ThreadDelegateConsumer)


def test_faust_logs_of_the_changed_consumer_have_the_level_of_faust() -> None:
    assert faust_transport.FaustConsumer.logger.name.startswith("faust.")
