"""The history of attempts in memory, for tests."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from shared.stores.attempts import Attempt, AttemptCount


class MemoryAttempts:
    """Implements Attempts."""

    def __init__(self) -> None:
        self._attempts: list[Attempt] = []

    async def add(self, attempts: Sequence[Attempt]) -> None:
        self._attempts += attempts

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        ours = [one for one in self._attempts if one.image_id in image_ids]
        return sorted(ours, key=lambda one: one.at, reverse=True)[:limit]

    async def latest(self, limit: int) -> Sequence[Attempt]:
        return sorted(self._attempts, key=lambda one: one.at, reverse=True)[:limit]

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[AttemptCount]:
        counted = Counter(
            (one.at.replace(second=0, microsecond=0), one.result) for one in self._attempts if since <= one.at < until
        )
        return [AttemptCount(minute, result, count) for (minute, result), count in counted.items()]
