"""Tells whether Kafka can take and deliver the records of this system's topics."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.events.topics import Topic
from shared.kafka.broker import Broker
from shared.kafka.clients import CREATE_HINT, BrokerUnavailable, connected_admin
from shared.kafka.topics import topic_configs

MAX_UNSENT_SECONDS = 30.0
"""How long a record may wait for Kafka to store it. An answer of Kafka takes ten seconds at most."""


class KafkaReadiness:
    """Checks for `/readyz` of a service whether Kafka can store and deliver the service's records.

    `bootstrap` names the Kafka servers. The topics to check are those of `manifest`, with `prefix` before their names.
    `broker` publishes the service's records, which must not wait for long.
    """

    def __init__(self, bootstrap: str, prefix: str, manifest: Sequence[Topic], broker: Broker) -> None:
        self._bootstrap = bootstrap
        self._topics = [f"{prefix}{topic.name}" for topic in manifest]
        self._broker = broker

    async def ping(self) -> None:
        """Raise BrokerUnavailable if Kafka does not answer, or cannot store and deliver records; else do nothing.

        Kafka cannot do this if a topic is missing, if a partition has no leader or too few replicas in sync, or if a
        record of this process has waited for more than MAX_UNSENT_SECONDS.
        """
        async with connected_admin(self._bootstrap) as admin:
            described = await admin.describe_topics(self._topics)
            configs = await topic_configs(admin, self._topics)
        minimums = {name: int(config.effective.get("min.insync.replicas", 1)) for name, config in configs.items()}
        if faults := availability_faults(described, minimums):
            raise BrokerUnavailable(f"Kafka: {'; '.join(faults)}")
        if (waiting := self._broker.oldest_unsent_seconds) > MAX_UNSENT_SECONDS:
            raise BrokerUnavailable(f"Kafka: a record has waited {waiting:.0f} s to be stored")


def availability_faults(described: Sequence[Mapping[str, Any]], minimums: Mapping[str, int]) -> list[str]:
    """Return a text about each fault by which Kafka cannot store or deliver all records of a topic; empty if none.

    `described` are the topics as aiokafka's `describe_topics` returns them. `minimums` says, by the topic's name, how
    many replicas must be in sync for a record to be stored; a missing topic counts as 1.
    """
    faults: list[str] = []
    for topic in described:
        name, partitions = topic["topic"], topic["partitions"]
        if not partitions:
            faults.append(f"there is no topic {name}; {CREATE_HINT}")
            continue
        if leaderless := [partition["partition"] for partition in partitions if partition["leader"] < 0]:
            faults.append(f"{name} has no leader for {_partitions(leaderless)}")
        minimum = minimums.get(name, 1)
        if short := [partition["partition"] for partition in partitions if len(partition["isr"]) < minimum]:
            faults.append(f"{name} has fewer than {minimum} replicas in sync for {_partitions(short)}")
    return faults


def _partitions(numbers: Sequence[int]) -> str:
    return f"partition{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}"
