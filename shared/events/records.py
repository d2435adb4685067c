"""What a broker hands over, before anything is understood of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.domain.freshness import Position

Headers = Sequence[tuple[str, bytes]]
_FIRST_POSITION = "first_position"


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record; `topic` is its full name."""

    topic: str
    partition: int
    offset: int
    at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def position(self) -> Position:
        """Where it stands on its topic; of one that was published again, where it stood at first."""
        said = dict(self.headers).get(_FIRST_POSITION) if self.headers else None
        return (_position(said) if said else None) or Position(self.at, self.partition, self.offset)


def first_position_headers(position: Position) -> Headers:
    """Return what keeps a record that is published again as old as it was: it is no news of its listing."""
    return ((_FIRST_POSITION, f"{position.at.isoformat()} {position.partition} {position.offset}".encode()),)


def _position(said: bytes) -> Position | None:
    try:
        at, partition, offset = said.decode().split()
        return Position(datetime.fromisoformat(at).astimezone(UTC), int(partition), int(offset))
    except (ValueError, OverflowError):  # not ours
        return None
