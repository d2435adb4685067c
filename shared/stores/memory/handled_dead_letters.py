"""Handled dead letters in memory, for tests."""

from collections.abc import Collection, Sequence
from datetime import datetime

from shared.stores.handled_dead_letters import RecordPlace


class MemoryHandledDeadLetters:
    """Marks of dead letters in a dictionary."""

    def __init__(self) -> None:
        self.handled: dict[RecordPlace, str] = {}

    async def add(self, places: Sequence[RecordPlace], how: str) -> None:
        """Mark dead letters as handled. The same again changes nothing."""
        for place in places:
            self.handled.setdefault(place, how)

    async def since(self, oldest: datetime) -> Collection[RecordPlace]:
        """Return the marks of dead letters that are as new as that."""
        return {place for place in self.handled if place.at >= oldest}
