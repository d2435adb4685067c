"""How does everything stand, and how did the last hour go? Looked at once for all who watch."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from ops import dead_letters, status
from ops.stores import Stores
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.kafka import BrokerUnavailable
from shared.origin_budget import use as budget_use
from shared.origin_budget.use import BudgetUse
from shared.settings import Settings
from shared.stores.attempts import Attempts
from shared.stores.listing_reports import FeedCounts

Value = TypeVar("Value")

MINUTE = timedelta(minutes=1)
MINUTES = 60
"""How far back charts go."""
SAMPLE_SECONDS = 30.0
_FRESH = timedelta(seconds=4)
_SETTLED = timedelta(minutes=2)
"""An attempt is written within this after the time that it bears: older minutes are counted once and kept."""
_KAFKA_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment. `lag` and `dead_letters` are null while Kafka does not answer; `fault` says why."""

    at: datetime
    feeds: Mapping[str, FeedCounts]
    budgets: Mapping[str, BudgetUse]
    requests: Mapping[datetime, int]
    """How many requests all origins together got in each minute of the last hour."""
    lag: Mapping[str, Mapping[str, int]] | None
    dead_letters: int | None
    fault: str

    @property
    def queued(self) -> int:
        """How many photos of all feeds want an attempt."""
        return sum(sum(counts.queued.values()) for counts in self.feeds.values())


class Watch:
    """How everything stands now."""

    def __init__(self, settings: Settings, feeds: Mapping[str, Feed], stores: Stores, clock: Clock) -> None:
        self._settings = settings
        self._feeds = feeds
        self._stores = stores
        self._clock = clock
        self._looking = asyncio.Lock()
        self._last: Snapshot | None = None
        self.queue: deque[tuple[datetime, int]] = deque(maxlen=int(MINUTES * 60 / SAMPLE_SECONDS))
        """How long the queue was, since this process began and for an hour at most."""

    async def now(self) -> Snapshot:
        """Return how everything stands, some seconds old at most. Raises StoreUnavailable."""
        async with self._looking:
            if self._last is None or self._clock() - self._last.at > _FRESH:
                self._last = await self._look()
            return self._last

    async def sample(self) -> None:
        """Remember how long the queue is. Raises StoreUnavailable."""
        seen = await self.now()
        self.queue.append((seen.at, seen.queued))

    async def _look(self) -> Snapshot:
        now = self._clock()
        (lag, letters, fault), feeds = await asyncio.gather(self._topics(), self._counts(now))
        ledgers = {name: await self._stores.ledgers.get(name) for name in self._feeds}
        requests = Counter[datetime]()
        for stored in ledgers.values():
            requests.update(budget_use.requests_by_minute(stored.ledger))
        return Snapshot(
            at=now,
            feeds=feeds,
            budgets={
                name: budget_use.of_ledger(feed, ledgers[name].ledger, ledgers[name].now)
                for name, feed in self._feeds.items()
            },
            requests=requests,
            lag=lag,
            dead_letters=letters,
            fault=fault,
        )

    async def _counts(self, now: datetime) -> Mapping[str, FeedCounts]:
        return {name: await self._stores.listings.counts(name, now) for name in self._feeds}

    async def _topics(self) -> tuple[Mapping[str, Mapping[str, int]] | None, int | None, str]:
        """Return what is yet to be read, how many dead letters there are, and why Kafka said less."""
        lag, fault = await _heard(status.read_lag(self._settings))
        if fault:
            return None, None, fault
        return lag, *await _heard(dead_letters.count(self._settings, self._stores.handled_dead_letters))


async def _heard(asked: Awaitable[Value]) -> tuple[Value | None, str]:
    """Return what Kafka said, or why it said nothing: the rest can be shown without it."""
    try:
        async with asyncio.timeout(_KAFKA_SECONDS):
            return await asked, ""
    except TimeoutError:
        return None, "Kafka: no answer in time"
    except BrokerUnavailable as fault:
        return None, str(fault)


class History:
    """The last hour, minute by minute."""

    def __init__(self, attempts: Attempts, clock: Clock) -> None:
        self._attempts = attempts
        self._clock = clock
        self._looking = asyncio.Lock()
        self._settled: dict[datetime, dict[str, int]] = {}

    async def minutes(self) -> Mapping[datetime, Mapping[str, int]]:
        """Count the last hour's attempts by minute and result. Raises StoreUnavailable.

        Whatever happened in that hour, only the last minutes are read each time.
        """
        now = self._clock()
        first = now.replace(second=0, microsecond=0) - (MINUTES - 1) * MINUTE
        async with self._looking:
            kept = {minute: counts for minute, counts in self._settled.items() if minute >= first}
            unsettled = max(kept, default=first - MINUTE) + MINUTE
            counted: dict[datetime, dict[str, int]] = {}
            for tally in await self._attempts.by_minute(unsettled, now + MINUTE):
                counted.setdefault(tally.minute, {})[tally.result] = tally.count
            empty: dict[datetime, dict[str, int]] = {first + place * MINUTE: {} for place in range(MINUTES)}
            minutes = empty | kept | counted
            self._settled = {minute: counts for minute, counts in minutes.items() if minute + MINUTE + _SETTLED <= now}
        return {minute: minutes[minute] for minute in sorted(minutes)}
