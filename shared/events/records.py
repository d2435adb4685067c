"""Kafka records as they are read from a topic, before their values are decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.domain.freshness import Position

Headers = Sequence[tuple[str, bytes]]
_FIRST_POSITION = "first_position"
_MAX_MILLISECONDS = datetime(9999, 1, 1, tzinfo=UTC).timestamp() * 1000
"""A year before Python's last date, so that durations can be added."""


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record as read from a topic; key and value are bytes, or None if the record has none.

    `topic` is the topic's full name, `at` the time of the record's timestamp.
    """

    topic: str
    partition: int
    offset: int
    at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def position(self) -> Position:
        """The record's position on its topic; for a record that was published again, its first position.

        The first position is in the headers of a replayed or requeued record.
        """
        first = dict(self.headers).get(_FIRST_POSITION) if self.headers else None
        return (_position(first) if first else None) or Position(self.at, self.partition, self.offset)


def time_of(milliseconds: float) -> datetime:
    """Return the time, in UTC, of a Kafka record's timestamp in milliseconds since 1970.

    A producer may set any number as timestamp: the result is kept between 1970 and the end of the year 9998.
    """
    return datetime.fromtimestamp(min(max(milliseconds, 0), _MAX_MILLISECONDS) / 1000, UTC)


def first_position_headers(position: Position) -> Headers:
    """Return the headers to give a record that is published again; `position` is the record's first position.

    With these headers, `Record.position` returns the first position. So the record counts as older than the records
    that followed it, and does not undo their changes.
    """
    return ((_FIRST_POSITION, f"{position.at.isoformat()} {position.partition} {position.offset}".encode()),)


def _position(text: bytes) -> Position | None:
    try:
        at, partition, offset = text.decode().split()
        return Position(datetime.fromisoformat(at).astimezone(UTC), int(partition), int(offset))
    except (ValueError, OverflowError):  # another producer's header
        return None
