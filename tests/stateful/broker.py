"""Kafka in memory: topics of two partitions, and groups whose members are told of the same record more than once."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.events.records import Record

PARTITIONS = 2


class Topics:
    """Every record that was ever published, by topic and partition."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._records: dict[str, list[list[Record]]] = {}

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Publish one record."""
        partition = zlib.crc32(key or b"") % PARTITIONS
        records = self.partitions(topic)[partition]
        records.append(Record(topic, partition, len(records), self._clock(), key, value))

    def partitions(self, topic: str) -> list[list[Record]]:
        """Return the records of each partition."""
        return self._records.setdefault(topic, [[] for _ in range(PARTITIONS)])

    def all(self, topic: str) -> list[Record]:
        """Return every record of a topic."""
        return [record for partition in self.partitions(topic) for record in partition]


@dataclass
class Subscription:
    """How far one group has read one topic."""

    topics: Topics
    topic: str
    at: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    lost: set[Record] = field(default_factory=set)

    def take(self, most: int) -> Sequence[Record]:
        """Return the next records, those of one partition in order."""
        taken: list[Record] = []
        for partition, records in enumerate(self.topics.partitions(self.topic)):
            more = records[self.at[partition] : self.at[partition] + most - len(taken)]
            self.at[partition] += len(more)
            taken += [record for record in more if record not in self.lost]
        return taken

    def again(self, records: Sequence[Record]) -> None:
        """Deliver records again, and all that came after them, as when their reader died."""
        for record in records:
            self.at[record.partition] = min(self.at[record.partition], record.offset)

    def lose(self) -> None:
        """Never deliver what is there and was not read."""
        for at, records in zip(self.at, self.topics.partitions(self.topic), strict=True):
            self.lost.update(records[at:])
        self.at = [len(records) for records in self.topics.partitions(self.topic)]

    @property
    def behind(self) -> int:
        """How many records are yet to be read."""
        return sum(len(records) - at for records, at in zip(self.topics.partitions(self.topic), self.at, strict=True))
