"""When can Kafka take and deliver the records of all topics?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.events.topics import Topic
from shared.kafka import Broker, BrokerUnavailable, KafkaReadiness, readiness
from shared.kafka.readiness import MAX_UNSENT_SECONDS, availability_faults
from shared.kafka.topics import TopicConfig


def a_topic(name: str, *partitions: tuple[int, list[int]]) -> dict[str, Any]:
    """Return a topic as aiokafka describes it; `partitions` are the leader and the replicas in sync of each."""
    rows = [{"partition": number, "leader": leader, "isr": isr} for number, (leader, isr) in enumerate(partitions)]
    return {"topic": name, "partitions": rows}


@pytest.mark.parametrize(
    ("topic", "minimum", "faults"),
    [
        (a_topic("t", (1, [1]), (1, [1])), 1, []),
        (a_topic("t", (1, [1, 2]), (2, [2, 3])), 2, []),
        (a_topic("t", (1, [1, 2]), (2, [2]), (3, [3])), 2, ["t has fewer than 2 replicas in sync for partitions 1, 2"]),
        (a_topic("t", (1, [1]), (-1, [2])), 1, ["t has no leader for partition 1"]),
        (a_topic("t"), 1, ["there is no topic t; create what is missing with: imagectl init"]),
    ],
)
def test_a_topic_needs_leaders_and_replicas_in_sync(topic: dict[str, Any], minimum: int, faults: list[str]) -> None:
    assert availability_faults([topic], {"t": minimum}) == faults


class WaitingBroker(Broker):
    """A broker whose oldest record has waited for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__("nowhere:9")
        self.seconds = seconds

    @property
    def oldest_unsent_seconds(self) -> float:
        return self.seconds


class Admin:
    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [a_topic(name, (1, [1])) for name in names]


async def test_a_record_that_waits_for_long_is_a_fault_although_kafka_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def admin(_: str) -> AsyncIterator[Admin]:
        yield Admin()

    async def configs(*_: object) -> dict[str, TopicConfig]:
        return {"p.t": TopicConfig({"min.insync.replicas": "1"}, {})}

    monkeypatch.setattr(readiness, "connected_admin", admin)
    monkeypatch.setattr(readiness, "topic_configs", configs)
    broker = WaitingBroker(MAX_UNSENT_SECONDS)
    kafka = KafkaReadiness("nowhere:9", "p.", [Topic("t", 1, 1, {})], broker)
    await kafka.ping()
    broker.seconds += 1
    with pytest.raises(BrokerUnavailable, match="a record has waited 31 s to be stored"):
        await kafka.ping()
