"""Handled dead letters in memory, for tests."""

from collections.abc import Collection, Sequence
from datetime import datetime

from shared.stores.handled_dead_letters import RecordPlace


class MemoryHandledDeadLetters:
    """Keeps in memory, for tests, which dead letters were handled; implements HandledDeadLetters.

    `handled` has `requeued` or `dropped` by the place of the dead letter.
    """

    def __init__(self) -> None:
        self.handled: dict[RecordPlace, str] = {}

    async def add(self, places: Sequence[RecordPlace], how: str) -> None:
        for place in places:
            self.handled.setdefault(place, how)

    async def since(self, oldest: datetime) -> Collection[RecordPlace]:
        return {place for place in self.handled if place.at >= oldest}
