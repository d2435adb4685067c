"""The dead letters that an operator has handled. They are stored, as Kafka cannot delete single records of a topic."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """The place of a record on the topic `dead-letter`: its partition, its offset, and its timestamp `at`.

    After the topic was deleted and created again, a new record can have the offset of an old one. The timestamp tells
    the two apart.
    """

    partition: int
    offset: int
    at: datetime


class HandledDeadLetters(Protocol):
    """Stores which dead letters an operator has handled.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def add(self, places: Sequence[RecordPlace], how: str) -> None:
        """Store that the dead letters at these places were handled; `how` is `requeued` or `dropped`.

        A dead letter that is stored already keeps its earlier `how`. Raises StoreUnavailable.
        """

    async def since(self, oldest: datetime) -> Collection[RecordPlace]:
        """Return the places of the handled dead letters whose timestamp is `oldest` or later. Raises StoreUnavailable.

        Callers pass the timestamp of the topic's oldest record, since Kafka has deleted all older dead letters.
        """
