"""Kafka records as they are read, before they are decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.domain.freshness import Position

Headers = Sequence[tuple[str, bytes]]
_FIRST_POSITION = "first_position"


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record. `topic` is its full name, `at` its timestamp."""

    topic: str
    partition: int
    offset: int
    at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def position(self) -> Position:
        """The record's position on its topic; of a replayed or requeued record, its first position."""
        first = dict(self.headers).get(_FIRST_POSITION) if self.headers else None
        return (_position(first) if first else None) or Position(self.at, self.partition, self.offset)


def first_position_headers(position: Position) -> Headers:
    """Return the headers for a record that is published again: they keep its first position.

    So the record stays older than those that followed it, and changes nothing that they changed.
    """
    return ((_FIRST_POSITION, f"{position.at.isoformat()} {position.partition} {position.offset}".encode()),)


def _position(text: bytes) -> Position | None:
    try:
        at, partition, offset = text.decode().split()
        return Position(datetime.fromisoformat(at).astimezone(UTC), int(partition), int(offset))
    except (ValueError, OverflowError):  # another producer's header
        return None
