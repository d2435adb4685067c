"""What does Faust's changed consumer commit after a commit that failed? A fake replaces the thread that asks Kafka."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.transport.consumer import Consumer as AnyConsumer
from faust.types import TP

from shared.consumer import faust_app, faust_transport
from shared.settings import Settings

PARTITION = TP("t", 0)


@dataclass
class Thread:
    """The thread in which Faust runs aiokafka. `committed` are the offsets that Kafka has, by partition.

    `answers` are the results of the next commits; a commit succeeds if there are none. `before_answer` is called in
    each commit, before it is answered.
    """

    committed: dict[TP, int] = field(default_factory=dict)
    answers: list[bool] = field(default_factory=list)
    before_answer: Callable[[], Any] = lambda: asyncio.sleep(0)

    def assignment(self) -> set[TP]:
        return {PARTITION}

    async def commit(self, offsets: dict[TP, int]) -> bool:
        await self.before_answer()
        if self.answers and not self.answers.pop(0):
            return False
        self.committed |= offsets
        return True

    async def seek_to_committed(self) -> dict[TP, int | None]:
        return {PARTITION: self.committed.get(PARTITION)}

    async def seek_to_beginning(self, *_: TP) -> None:
        return


@pytest.fixture
async def consumer() -> Any:
    """Faust's consumer with one partition, and a fake in place of its thread."""
    app = faust_app.create(Settings(), "janitor")
    made = app.consumer
    made._thread.thread_loop.close()
    made._thread = Thread()
    app.producer = SimpleNamespace(flush=lambda: asyncio.sleep(0))
    app.topics = SimpleNamespace(acks_enabled_for=lambda _: True)
    return made


def acknowledge(consumer: Any, *offsets: int) -> None:
    for offset in offsets:
        consumer.ack(cast("Any", Message("t", offset)))


@dataclass(eq=False)
class Message:
    topic: str
    offset: int
    tp: TP = PARTITION
    acked: bool = False


async def deliver_again(consumer: Any) -> None:
    """Revoke the partition, assign it again, and seek to the committed offset, as in a rebalance."""
    for of_partition in (consumer._gap, consumer._acked, consumer._acked_index, consumer._committed_offset):
        of_partition.pop(PARTITION, None)
    await consumer.perform_seek()


@pytest.mark.parametrize(
    "is_late", [False, True], ids=["before the partition is revoked", "after it is assigned again"]
)
@pytest.mark.parametrize("committed", [None, 3])
async def test_records_of_a_failed_commit_are_committed_once_they_are_handled_again(
    consumer: Any, committed: int | None, *, is_late: bool
) -> None:
    first = committed or 0
    consumer._thread = Thread({PARTITION: committed} if committed else {}, answers=[False])
    await consumer.perform_seek()
    acknowledge(consumer, first, first + 1, first + 2)
    if is_late:
        consumer._thread.before_answer = lambda: deliver_again(consumer)
    assert not await consumer.commit()
    consumer._thread.before_answer = lambda: asyncio.sleep(0)
    if not is_late:
        await deliver_again(consumer)
    acknowledge(consumer, first, first + 1, first + 2)
    await consumer.commit()
    assert consumer._thread.committed == {PARTITION: first + 3}


async def test_a_failed_commit_is_tried_again_although_no_further_record_comes(consumer: Any) -> None:
    consumer._thread = Thread({PARTITION: 3}, answers=[False])
    await consumer.perform_seek()
    acknowledge(consumer, 3, 4, 5)
    assert not await consumer.commit()
    assert await consumer.commit()
    assert consumer._thread.committed == {PARTITION: 6}


async def test_a_commit_passes_over_offsets_without_a_record(consumer: Any) -> None:
    """Kafka uses up offsets for markers of transactions, and deletes old records."""
    consumer._thread = Thread({PARTITION: 3})
    await consumer.perform_seek()
    await consumer._add_gap(PARTITION, 4, 7)
    acknowledge(consumer, 7, 9)
    assert await consumer.commit()
    assert consumer._thread.committed == {PARTITION: 10}
    assert not consumer._acked[PARTITION]
    assert not consumer._acked_index[PARTITION]
    assert not consumer._gap


async def test_nothing_is_committed_twice(consumer: Any) -> None:
    await consumer.perform_seek()
    acknowledge(consumer, 0, 1)
    assert await consumer.commit()
    assert not await consumer.commit()
    acknowledge(consumer, 1)
    assert not await consumer.commit()


async def test_what_another_worker_committed_meanwhile_counts(consumer: Any) -> None:
    consumer._thread = Thread(answers=[False])
    await consumer.perform_seek()
    acknowledge(consumer, 0, 1)

    async def rebalance() -> None:
        consumer._thread.committed[PARTITION] = 20
        await deliver_again(consumer)

    consumer._thread.before_answer = rebalance
    assert not await consumer.commit()
    assert consumer._committed_offset[PARTITION] == 20
    acknowledge(consumer, 20)
    assert await consumer.commit()
    assert consumer._thread.committed == {PARTITION: 21}


async def test_a_committed_offset_that_kafka_no_longer_has_is_forgotten_at_a_seek(consumer: Any) -> None:
    consumer._thread = Thread({PARTITION: 5})
    await consumer.perform_seek()
    consumer._thread.committed.clear()
    await consumer.perform_seek()
    acknowledge(consumer, 0)
    assert await consumer.commit()
    assert consumer._thread.committed == {PARTITION: 1}


async def test_fausts_livelock_detector_does_not_look_at_partitions(consumer: Any) -> None:
    """It asserts a position, which is None during a seek; the fake of the thread has no such method either."""
    await consumer.verify_all_partitions_active()


def test_the_changed_methods_exist_in_faust() -> None:
    """If this fails: shared/consumer/faust_transport.py says what to do."""
    changed = {"_commit_offsets", "_new_offset", "_add_gap", "verify_all_partitions_active", "perform_seek", "ack"}
    assert changed <= vars(AnyConsumer).keys()
    assert {"_acked", "_acked_index", "_committed_offset", "_gap"} <= AnyConsumer.__annotations__.keys()
    assert "_commit" in {name for cls in faust_transport.FaustConsumer.__mro__[1:] for name in vars(cls)}


def test_new_partitions_are_found_within_thirty_seconds() -> None:
    assert faust_app.create(Settings(), "janitor").conf.consumer_metadata_max_age_ms <= 30_000
