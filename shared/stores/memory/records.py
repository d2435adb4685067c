"""What is kept beside the listings, in memory, for tests."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime

from shared.stores.records import Attempt, Behind, Place, Removal, Tally


class MemoryAttempts:
    """The history of attempts in a list."""

    def __init__(self) -> None:
        self._attempts: list[Attempt] = []

    async def add(self, attempts: Sequence[Attempt]) -> None:
        """Append."""
        self._attempts += attempts

    async def of_images(self, image_ids: Sequence[str], limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of the images, newest first."""
        ours = [one for one in self._attempts if one.image_id in image_ids]
        return sorted(ours, key=lambda one: one.at, reverse=True)[:limit]

    async def latest(self, limit: int) -> Sequence[Attempt]:
        """Return the newest attempts of all, newest first."""
        return sorted(self._attempts, key=lambda one: one.at, reverse=True)[:limit]

    async def by_minute(self, since: datetime, until: datetime) -> Sequence[Tally]:
        """Count attempts by minute and result, from `since` to before `until`."""
        counted = Counter(
            (one.at.replace(second=0, microsecond=0), one.result) for one in self._attempts if since <= one.at < until
        )
        return [Tally(minute, result, count) for (minute, result), count in counted.items()]


class MemoryRemovals:
    """The evidence of removals in a dictionary."""

    def __init__(self) -> None:
        self._removals: dict[str, Removal] = {}

    async def add(self, removals: Sequence[Removal]) -> None:
        """Record; the same removal again changes nothing."""
        for removal in removals:
            self._removals.setdefault(removal.id, removal)

    async def of_listing(self, feed: str, listing_key: str) -> Sequence[Removal]:
        """Return the evidence of a listing, oldest first."""
        ours = [one for one in self._removals.values() if (one.feed, one.listing_key) == (feed, listing_key)]
        return sorted(ours, key=lambda one: one.removed_at)

    async def between(self, begin: datetime, end: datetime, feed: str | None) -> AsyncIterator[Removal]:
        """Yield the evidence of a period, its end excluded, oldest first; of one feed or of all."""
        ours = [one for one in self._removals.values() if begin <= one.removed_at < end and feed in (None, one.feed)]
        for one in sorted(ours, key=lambda one: one.removed_at):
            yield one

    async def newest(
        self, begin: datetime, end: datetime, feed: str | None, after: Behind | None, most: int
    ) -> Sequence[Removal]:
        """Return so much of the same at most, newest first; from behind a removal on where one is given."""
        ours = [one async for one in self.between(begin, end, feed) if not after or (one.removed_at, one.id) < after]
        return sorted(ours, key=lambda one: (one.removed_at, one.id), reverse=True)[:most]


class MemoryHandledDeadLetters:
    """Marks of dead letters in a dictionary."""

    def __init__(self) -> None:
        self.handled: dict[Place, str] = {}

    async def add(self, places: Sequence[Place], how: str) -> None:
        """Mark dead letters as handled. The same again changes nothing."""
        for place in places:
            self.handled.setdefault(place, how)

    async def since(self, oldest: datetime) -> Collection[Place]:
        """Return the marks of dead letters that are as new as that."""
        return {place for place in self.handled if place.at >= oldest}


class MemoryLeases:
    """Leases in a dictionary."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, datetime]] = {}

    async def hold(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """Take or keep the lease; False while another holds it."""
        current = self._held.get(name)
        if current is not None and current[0] != holder and current[1] > now:
            return False
        self._held[name] = (holder, until)
        return True

    async def release(self, name: str, holder: str) -> None:
        """Give the lease back."""
        if self._held.get(name, ("", None))[0] == holder:
            del self._held[name]

    async def holders(self, now: datetime) -> Mapping[str, str]:
        """Return who holds each lease that has not ended."""
        return {name: holder for name, (holder, until) in self._held.items() if until > now}
