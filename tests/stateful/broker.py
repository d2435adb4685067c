"""Kafka in memory: topics of two partitions, and consumer groups that may get a record more than once."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.events.records import Record

PARTITIONS = 2


class Topics:
    """All records that were ever published, in memory, by topic and partition."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._records: dict[str, list[list[Record]]] = {}

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Append a record to the partition of the topic that the key belongs to. A topic is made by its first use."""
        partition = zlib.crc32(key or b"") % PARTITIONS
        records = self.partitions(topic)[partition]
        records.append(Record(topic, partition, len(records), self._clock(), key, value))

    def partitions(self, topic: str) -> list[list[Record]]:
        """Return the records of a topic: a list for each partition, which grows with later records."""
        return self._records.setdefault(topic, [[] for _ in range(PARTITIONS)])

    def all(self, topic: str) -> list[Record]:
        """Return all records of a topic in a new list, partition by partition, each in the order of its offsets."""
        return [record for partition in self.partitions(topic) for record in partition]


@dataclass
class Subscription:
    """A group's progress in a topic: `at` has the next offset of each partition; `lost` records are never delivered."""

    topics: Topics
    topic: str
    at: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    lost: set[Record] = field(default_factory=set)

    def take(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` of the next records, each partition's in order, and move on behind them.

        Lost records among them are left out.
        """
        taken: list[Record] = []
        for partition, records in enumerate(self.topics.partitions(self.topic)):
            next_records = records[self.at[partition] : self.at[partition] + limit - len(taken)]
            self.at[partition] += len(next_records)
            taken += [record for record in next_records if record not in self.lost]
        return taken

    def redeliver(self, records: Sequence[Record]) -> None:
        """Go back to deliver these records again, and all after them: the process that handled them has died."""
        for record in records:
            self.at[record.partition] = min(self.at[record.partition], record.offset)

    def lose(self) -> None:
        """Lose all records of the topic that are not read yet: they are never delivered."""
        for at, records in zip(self.at, self.topics.partitions(self.topic), strict=True):
            self.lost.update(records[at:])
        self.at = [len(records) for records in self.topics.partitions(self.topic)]

    @property
    def lag(self) -> int:
        """Return how many records the group has not read yet, over all partitions."""
        return sum(len(records) - at for records, at in zip(self.topics.partitions(self.topic), self.at, strict=True))
