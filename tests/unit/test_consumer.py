"""How records become batches, and when they are acknowledged; the stream is a list, all else is as it runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from prometheus_client import CollectorRegistry

from shared.consumer import Consumer, Handle, Subscription
from shared.dead_letters import DeadLetters
from shared.events.records import Record
from shared.kafka import BrokerUnavailable
from shared.progress import STUCK_SECONDS
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable


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
class Hands:
    """Batches by their offsets, as they were begun; each ends when told."""

    begun: list[list[int]] = field(default_factory=list)
    gates: list[asyncio.Event] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    async def __call__(self, records: Sequence[Record]) -> None:
        self.begun.append([record.offset for record in records])
        self.gates.append(gate := asyncio.Event())
        await gate.wait()
        if self.faults:
            raise self.faults.pop(0)


@asynccontextmanager
async def consuming(handle: Handle, stream: Stream, **rules: Any) -> AsyncIterator[None]:
    lane = Subscription("t", handle, within_seconds=0.0, **rules)
    consumer = Consumer(Settings(), "downloader", [], cast("DeadLetters", None), CollectorRegistry())
    task = asyncio.create_task(consumer._consume(cast("Any", stream), lane))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass
class Group:
    """What Faust knows of the topics of two lanes: `behind` has how many records are there yet to read."""

    behind: dict[str, int]

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(topic, 0) for topic in self.behind]

    async def highwaters(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
        return {partition: self.behind[partition.topic] for partition in partitions}

    async def position(self, _: TopicPartition) -> int:
        return 0


@pytest.mark.parametrize(
    ("behind", "finished", "stuck"),
    [
        ({"a": 3, "b": 0}, "", ["a"]),
        ({"a": 3, "b": 2}, "b", ["a"]),
        ({"a": 3, "b": 2}, "", ["a", "b"]),
        ({"a": 0, "b": 2}, "b", []),
    ],
)
async def test_each_topic_is_told_by_its_own_progress(behind: dict[str, int], finished: str, stuck: list[str]) -> None:
    seconds, registry, hands = [0.0], CollectorRegistry(), Hands()
    subscriptions = [Subscription(topic, hands, within_seconds=0.0) for topic in behind]
    consumer = Consumer(
        Settings(), "downloader", subscriptions, cast("DeadLetters", None), registry, lambda: seconds[0]
    )
    for topic in behind:
        assert registry.get_sample_value("listing_images_records_total", {"topic": topic}) == 0
    consumer.app = cast("Any", SimpleNamespace(consumer=Group(behind)))
    await consumer.look()
    assert consumer.stuck == []
    seconds[0] = STUCK_SECONDS + 1
    if finished:
        consumer._done[finished] += 1
    await consumer.look()
    assert consumer.stuck == stuck


@pytest.mark.parametrize(
    ("seconds", "position", "fault"),
    [
        (60.0, 0, BrokerUnavailable("did not say")),
        (0.0, IllegalStateError("Partition t-0 is not assigned"), None),
    ],
    ids=["no answer", "a partition taken away"],
)
async def test_to_look_while_the_broker_or_a_partition_is_away_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, seconds: float, position: int | Exception, fault: Exception | None
) -> None:
    class Away(Group):
        async def highwaters(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
            await asyncio.sleep(seconds)
            return await super().highwaters(*partitions)

        async def position(self, _: TopicPartition) -> int:
            if isinstance(position, Exception):
                raise position
            return position

    monkeypatch.setattr("shared.consumer._ASK_SECONDS", 0.05)
    subscriptions = [Subscription("t", Hands())]
    consumer = Consumer(Settings(), "downloader", subscriptions, cast("DeadLetters", None), CollectorRegistry())
    consumer.app = cast("Any", SimpleNamespace(consumer=Away({"t": 1})))
    with pytest.raises(type(fault), match=str(fault)) if fault else nullcontext():
        await consumer.look()


async def test_what_is_in_hand_is_work_of_its_topic_though_nothing_is_left_to_read() -> None:
    seconds, hands, stream = [0.0], Hands(), Stream()
    subscriptions = [Subscription("t", hands, within_seconds=0.0), Subscription("other", hands)]
    consumer = Consumer(
        Settings(), "downloader", subscriptions, cast("DeadLetters", None), CollectorRegistry(), lambda: seconds[0]
    )
    consumer.app = cast("Any", SimpleNamespace(consumer=Group({"t": 0, "other": 0})))
    task = asyncio.create_task(consumer._consume(cast("Any", stream), subscriptions[0]))
    stream.arrive(0)
    await come(lambda: len(hands.begun) == 1)
    seconds[0] = STUCK_SECONDS + 1
    await consumer.look()
    assert consumer.stuck == ["t"]
    hands.gates[0].set()
    await come(lambda: stream.acked == [0])
    await consumer.look()
    assert consumer.stuck == []
    task.cancel()


async def come(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.002)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_what_arrives_until_there_is_room_is_one_batch() -> None:
    stream, hands = Stream(), Hands()
    async with consuming(hands, stream, batch=4, batches=1):
        stream.arrive(0)
        await come(lambda: hands.begun == [[0]])
        for offset in (1, 2, 3, 4, 5):  # each after the moment for which a batch waits
            stream.arrive(offset)
            await settled()
        hands.gates[0].set()
        await come(lambda: len(hands.begun) == 2)
        assert hands.begun[1] == [1, 2, 3, 4]


async def test_batches_end_in_any_order_and_are_acknowledged_in_theirs() -> None:
    stream, hands = Stream(), Hands()
    async with consuming(hands, stream, batch=2, batches=2):
        stream.arrive(0, 1, 2, 3)
        await come(lambda: hands.begun == [[0, 1], [2, 3]])
        hands.gates[1].set()
        await settled()
        assert stream.acked == []
        hands.gates[0].set()
        await come(lambda: stream.acked == [0, 1, 2, 3])
    assert not stream.enable_acks


async def test_no_more_batches_are_begun_at_once_than_there_is_room_for() -> None:
    stream, hands = Stream(), Hands()
    async with consuming(hands, stream, batch=1, batches=2):
        stream.arrive(0, 1, 2)
        await come(lambda: len(hands.begun) == 2)
        await settled()
        assert hands.begun == [[0], [1]]
        hands.gates[1].set()
        await come(lambda: hands.begun == [[0], [1], [2]])


async def test_a_batch_whose_store_is_away_is_handled_again_and_only_then_acknowledged() -> None:
    stream, hands = Stream(), Hands(faults=[StoreUnavailable("away")])
    async with consuming(hands, stream, batch=2):
        stream.arrive(0, 1)
        await come(lambda: len(hands.gates) == 1)
        hands.gates[0].set()
        await come(lambda: len(hands.gates) == 2)
        assert (hands.begun, stream.acked) == ([[0, 1], [0, 1]], [])
        hands.gates[1].set()
        await come(lambda: stream.acked == [0, 1])


@pytest.mark.parametrize("batches", [1, 3])
async def test_every_record_is_handled_once_and_in_order(batches: int) -> None:
    seen: list[int] = []

    async def handle(records: Sequence[Record]) -> None:
        seen.extend(record.offset for record in records)
        await asyncio.sleep(0.001)

    stream = Stream()
    async with consuming(handle, stream, batch=7, batches=batches):
        stream.arrive(*range(500))
        await come(lambda: len(stream.acked) == 500)
    assert seen == stream.acked == list(range(500))
