"""Snapshots of the whole system and the attempts of the last hour, read once for all operators who look at them."""

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
"""How many minutes back the charts go."""
SAMPLE_SECONDS = 30.0
_MAX_AGE = timedelta(seconds=4)
_SETTLED_AFTER = timedelta(minutes=2)
"""An attempt is written within two minutes of its time: the counts of older minutes are final, and kept."""
_KAFKA_TIMEOUT_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How the whole system stands at one moment, as the desk shows it; `feeds` and `budgets` are by the feed's name.

    `lag` is how many records each service has not finished yet, by service and topic. `dead_letters` is how many dead
    letters are not handled. If Kafka does not answer, `lag` or `dead_letters` is None and `fault` says why; otherwise
    `fault` is "".
    """

    at: datetime
    feeds: Mapping[str, FeedCounts]
    budgets: Mapping[str, BudgetUse]
    requests: Mapping[datetime, int]
    """How many requests were sent to all origins in each minute of the last hour that had any."""
    lag: Mapping[str, Mapping[str, int]] | None
    dead_letters: int | None
    fault: str

    @property
    def queued(self) -> int:
        """The number of photos of all feeds that want an attempt, now or later."""
        return sum(sum(counts.queued.values()) for counts in self.feeds.values())


class Snapshots:
    """Takes snapshots of the system and keeps the last one, so that simultaneous requests share one snapshot."""

    def __init__(self, settings: Settings, feeds: Mapping[str, Feed], stores: Stores, clock: Clock) -> None:
        self._settings = settings
        self._feeds = feeds
        self._stores = stores
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: Snapshot | None = None
        self.queue_lengths: deque[tuple[datetime, int]] = deque(maxlen=int(MINUTES * 60 / SAMPLE_SECONDS))
        """Pairs of a time and how many photos were queued then: every 30 seconds, an hour of them, in memory."""

    async def current(self) -> Snapshot:
        """Return a snapshot of the system that is at most four seconds old; take a new one if the last one is older.

        Raises StoreUnavailable.
        """
        async with self._lock:
            if self._last is None or self._clock() - self._last.at > _MAX_AGE:
                self._last = await self._take()
            return self._last

    async def sample_queue(self) -> None:
        """Append the present time and number of queued photos of all feeds to `queue_lengths`.

        Called every 30 seconds. Raises StoreUnavailable.
        """
        snapshot = await self.current()
        self.queue_lengths.append((snapshot.at, snapshot.queued))

    async def _take(self) -> Snapshot:
        now = self._clock()
        (lag, letters, fault), feeds = await asyncio.gather(self._read_kafka(), self._read_counts(now))
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

    async def _read_counts(self, now: datetime) -> Mapping[str, FeedCounts]:
        return {name: await self._stores.listings.counts(name, now) for name in self._feeds}

    async def _read_kafka(self) -> tuple[Mapping[str, Mapping[str, int]] | None, int | None, str]:
        """Ask Kafka, and return the lag by service and topic, the number of dead letters that are not handled, and "".

        The lag is the number of records that a service has not finished. If Kafka does not answer, the last item says
        why instead of "". Then the number of dead letters is None, and the lag too if its query failed. Raises
        StoreUnavailable.
        """
        lag, fault = await _answer_or_fault(status.read_lag(self._settings))
        if fault:
            return None, None, fault
        return lag, *await _answer_or_fault(dead_letters.count(self._settings, self._stores.handled_dead_letters))


async def _answer_or_fault(question: Awaitable[Value]) -> tuple[Value | None, str]:
    """Await `question`, a query to Kafka, and return a pair: its result, and "".

    If Kafka does not answer within four seconds, or cannot be reached, the pair is None and the reason in words. Any
    other error of `question` is raised.
    """
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT_SECONDS):
            return await question, ""
    except TimeoutError:
        return None, "Kafka: no answer in time"
    except BrokerUnavailable as error:
        return None, str(error)


class AttemptHistory:
    """Counts the attempts of the last hour of all feeds by minute and result, and keeps the counts that are final."""

    def __init__(self, attempts: Attempts, clock: Clock) -> None:
        self._attempts = attempts
        self._clock = clock
        self._lock = asyncio.Lock()
        self._settled: dict[datetime, dict[str, int]] = {}
        """The counts of minutes that are final."""

    async def by_minute(self) -> Mapping[datetime, Mapping[str, int]]:
        """Return how many attempts each of the last 60 minutes had, by result; the oldest minute first.

        The keys are the beginnings of the minutes, including the present minute. Each value maps a result, such as
        `downloaded`, to the number of attempts with this result; it is empty for a minute without attempts. Counts of
        older minutes are final and kept in memory; only the others are read from MongoDB again. Raises
        StoreUnavailable.
        """
        now = self._clock()
        first = now.replace(second=0, microsecond=0) - (MINUTES - 1) * MINUTE
        async with self._lock:
            settled = {minute: counts for minute, counts in self._settled.items() if minute >= first}
            unsettled_from = max(settled, default=first - MINUTE) + MINUTE
            counted: dict[datetime, dict[str, int]] = {}
            for tally in await self._attempts.by_minute(unsettled_from, now + MINUTE):
                counted.setdefault(tally.minute, {})[tally.result] = tally.count
            empty: dict[datetime, dict[str, int]] = {first + place * MINUTE: {} for place in range(MINUTES)}
            minutes = empty | settled | counted
            settled_until = now - MINUTE - _SETTLED_AFTER
            self._settled = {minute: counts for minute, counts in minutes.items() if minute <= settled_until}
        return {minute: minutes[minute] for minute in sorted(minutes)}
