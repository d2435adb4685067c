"""The history of attempts in memory, for tests."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from shared.stores.attempts import Attempt, AttemptCount


class MemoryAttempts:
    """Keeps the history of attempts in memory, for tests; implements Attempts."""

    def __init__(self) -> None:
        self._attempts: list[Attempt] = []

    async def add(self, attempts: Sequence[Attempt]) -> None:
        self._attempts += attempts

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        found = [attempt for attempt in self._attempts if attempt.image_id in image_ids]
        return sorted(found, key=lambda attempt: attempt.at, reverse=True)[:limit]

    async def latest(self, limit: int) -> Sequence[Attempt]:
        return sorted(self._attempts, key=lambda attempt: attempt.at, reverse=True)[:limit]

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[AttemptCount]:
        counted = Counter(
            (attempt.at.replace(second=0, microsecond=0), attempt.result)
            for attempt in self._attempts
            if since <= attempt.at < until
        )
        return [AttemptCount(minute, result, count) for (minute, result), count in counted.items()]
