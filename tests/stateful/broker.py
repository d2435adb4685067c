"""Kafka in memory: topics of two partitions, and consumer groups that may get a record more than once."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.events.records import Record

PARTITIONS = 2


class Topics:
    """All records that were ever published, by topic and partition."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._records: dict[str, list[list[Record]]] = {}

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Append a record to the topic's partition for the key."""
        partition = zlib.crc32(key or b"") % PARTITIONS
        records = self.partitions(topic)[partition]
        records.append(Record(topic, partition, len(records), self._clock(), key, value))

    def partitions(self, topic: str) -> list[list[Record]]:
        """Return the records of a topic, a list for each partition."""
        return self._records.setdefault(topic, [[] for _ in range(PARTITIONS)])

    def all(self, topic: str) -> list[Record]:
        """Return all records of a topic, partition by partition."""
        return [record for partition in self.partitions(topic) for record in partition]


@dataclass
class Subscription:
    """A group's progress in a topic: `at` are the next offsets by partition; `lost` records are not delivered."""

    topics: Topics
    topic: str
    at: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    lost: set[Record] = field(default_factory=set)

    def take(self, limit: int) -> Sequence[Record]:
        """Return at most `limit` of the next records, each partition's in order, and move on behind them."""
        taken: list[Record] = []
        for partition, records in enumerate(self.topics.partitions(self.topic)):
            next_records = records[self.at[partition] : self.at[partition] + limit - len(taken)]
            self.at[partition] += len(next_records)
            taken += [record for record in next_records if record not in self.lost]
        return taken

    def redeliver(self, records: Sequence[Record]) -> None:
        """Go back to deliver the records again, and all after them, as after the death of their reader."""
        for record in records:
            self.at[record.partition] = min(self.at[record.partition], record.offset)

    def lose(self) -> None:
        """Lose all unread records of the topic: they are never delivered."""
        for at, records in zip(self.at, self.topics.partitions(self.topic), strict=True):
            self.lost.update(records[at:])
        self.at = [len(records) for records in self.topics.partitions(self.topic)]

    @property
    def lag(self) -> int:
        """The number of records that are not read yet."""
        return sum(len(records) - at for records, at in zip(self.topics.partitions(self.topic), self.at, strict=True))
