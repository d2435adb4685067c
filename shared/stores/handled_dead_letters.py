"""Which dead letters has an operator handled? Kafka cannot take a single record off a topic, so that is stored here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record of the dead letters' topic is, and its time.

    The time tells it from a record at the same offset of an earlier topic that was deleted.
    """

    partition: int
    offset: int
    at: datetime


class HandledDeadLetters(Protocol):
    """Stores which dead letters were handled. Each method raises StoreUnavailable."""

    async def add(self, places: Sequence[RecordPlace], how: str) -> None:
        """Mark dead letters as handled; `how` is `requeued` or `dropped`. A second mark changes nothing."""

    async def since(self, oldest: datetime) -> Collection[RecordPlace]:
        """Return the handled dead letters that are not older than `oldest`; those that are have left their topic."""
