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
    """One Kafka record as read from a topic, with its key and value as bytes.

    `topic` is the topic's full name, `at` the record's timestamp.
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
        """The record's position on its topic; if the record was published again, the position that it had at first.

        The headers of a replayed or requeued record name that position.
        """
        first = dict(self.headers).get(_FIRST_POSITION) if self.headers else None
        return (_position(first) if first else None) or Position(self.at, self.partition, self.offset)


def time_of(milliseconds: float) -> datetime:
    """Return the time of a Kafka record's timestamp, in milliseconds since 1970, in UTC.

    Any producer sets it, to any number: a time before 1970 or after the year 9998 becomes the nearest time in between.
    """
    return datetime.fromtimestamp(min(max(milliseconds, 0), _MAX_MILLISECONDS) / 1000, UTC)


def first_position_headers(position: Position) -> Headers:
    """Return the headers that a record needs when it is published again; `position` is the one that it had at first.

    With them, `Record.position` returns that position. The record still counts as older than the records that followed
    it, and does not undo their changes.
    """
    return ((_FIRST_POSITION, f"{position.at.isoformat()} {position.partition} {position.offset}".encode()),)


def _position(text: bytes) -> Position | None:
    try:
        at, partition, offset = text.decode().split()
        return Position(datetime.fromisoformat(at).astimezone(UTC), int(partition), int(offset))
    except (ValueError, OverflowError):  # another producer's header
        return None
