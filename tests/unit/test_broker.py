"""What does the broker do with a producer that cannot go on, and when does it call records unsent?"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.errors import InvalidTimestampError, KafkaError, OutOfOrderSequenceNumber

from shared.kafka import Broker, BrokerUnavailable, Outgoing, broker
from shared.kafka.unsent import FAILURE_SECONDS, UnsentRecords

RECORD = Outgoing("image-removed", b"X1", b"{}")


@dataclass
class Kafka:
    """Makes producers, and is each of them. After a producer's first refusal, Kafka refuses all that it sends.

    `refuses` are the next errors with which Kafka refuses a record of a producer that has not been refused anything.
    """

    refuses: list[KafkaError] = field(default_factory=list)
    producers: list["Producer"] = field(default_factory=list)

    def __call__(self, **_: Any) -> "Producer":
        self.producers.append(Producer(self))
        return self.producers[-1]


@dataclass
class Producer:
    kafka: Kafka
    is_out_of_order: bool = False
    is_stopped: bool = False
    sent: int = 0

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        self.is_stopped = True

    async def send(self, *_: Any, **__: Any) -> asyncio.Future[None]:
        answer = asyncio.get_running_loop().create_future()
        if self.is_out_of_order:
            answer.set_exception(OutOfOrderSequenceNumber())
        elif self.kafka.refuses:
            self.is_out_of_order = True
            answer.set_exception(self.kafka.refuses.pop(0))
        else:
            self.sent += 1
            answer.set_result(None)
        return answer


async def test_a_producer_that_was_refused_a_record_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka(refuses=[InvalidTimestampError()])
    monkeypatch.setattr(broker, "AIOKafkaProducer", kafka)
    publishing = Broker("nowhere:9")
    with pytest.raises(BrokerUnavailable, match="InvalidTimestamp"):
        await publishing.publish([RECORD])
    await publishing.publish([RECORD, RECORD])
    await publishing.close()
    first, second = kafka.producers
    assert (first.sent, first.is_stopped) == (0, True)
    assert (second.sent, second.is_stopped) == (2, True)


async def test_records_that_are_refused_together_cost_one_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka(refuses=[InvalidTimestampError()])
    monkeypatch.setattr(broker, "AIOKafkaProducer", kafka)
    publishing = Broker("nowhere:9")
    tried = await asyncio.gather(*(publishing.publish([RECORD]) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in tried] == [BrokerUnavailable] * 3
    await asyncio.gather(*(publishing.publish([RECORD]) for _ in range(3)))
    await publishing.close()
    assert len(kafka.producers) == 2


def test_the_oldest_record_waits_until_records_are_stored() -> None:
    now = [100.0]
    unsent = UnsentRecords(lambda: now[0])
    with unsent.waiting():
        now[0] = 105.0
        with unsent.waiting():
            now[0] = 107.0
        assert unsent.oldest_seconds == 7.0
    assert unsent.oldest_seconds == 0.0


def test_a_refused_record_waits_until_one_is_stored_or_its_publisher_has_given_up() -> None:
    now = [100.0]
    unsent = UnsentRecords(lambda: now[0])

    def refuse(at: float) -> None:
        with suppress(BrokerUnavailable), unsent.waiting():
            now[0] = at
            raise BrokerUnavailable("refused")

    refuse(at=110.0)
    refuse(at=130.0)
    assert unsent.oldest_seconds == 30.0
    with unsent.waiting():
        now[0] = 131.0
    assert unsent.oldest_seconds == 0.0
    refuse(at=140.0)
    now[0] = 140.0 + FAILURE_SECONDS + 1
    assert unsent.oldest_seconds == 0.0
