"""What a broker hands over, before anything is understood of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.freshness import Position

Headers = Sequence[tuple[str, bytes]]


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
        """Where it stands on its topic."""
        return Position(self.at, self.partition, self.offset)
