"""The dead letters that an operator has handled. They are stored, as Kafka cannot delete single records of a topic."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """The position of a record on the dead letters' topic, and its timestamp.

    If the topic was deleted and created again, two records have the same offset; the timestamp tells them apart.
    """

    partition: int
    offset: int
    at: datetime


class HandledDeadLetters(Protocol):
    """Stores which dead letters were handled. Each method raises StoreUnavailable."""

    async def add(self, places: Sequence[RecordPlace], how: str) -> None:
        """Mark dead letters as handled; `how` is `requeued` or `dropped`. A second mark changes nothing."""

    async def since(self, oldest: datetime) -> Collection[RecordPlace]:
        """Return the handled dead letters whose timestamp is `oldest` or later.

        Callers pass the timestamp of the topic's oldest record, since Kafka has deleted all older dead letters.
        """
