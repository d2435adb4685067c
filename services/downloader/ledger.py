"""May this request go out now? The shell around the budget's rules: one ledger write to take a batch, one to settle it.

A batch's story: `take`, then `at_turn` before each request (and `permit` before each redirect), `finished` after each
download, `settle` at the end. A process that dies says nothing; its slots come back by expiry.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.downloader import budget
from services.downloader.budget import Done, Grant, Ledger
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.stores.budgets import Budgets
from shared.stores.errors import StoreUnavailable

LONGEST_WAIT_SECONDS = 2.0
"""So long `take` waits for something to be granted; what comes later is better put back as due."""
FREEZE_KNOWN_WITHIN_SECONDS = 0.5
"""How old the knowledge of a freeze that another worker wrote may be when a request goes out."""
SLOT_MARGIN_SECONDS = 10.0
"""A batch is settled within this after its last download's time ran out."""
REPLANS = 3
_LOOK_AHEAD = timedelta(milliseconds=20)  # the ledger is read before a request's moment, not in it
_TRIES = 60
_DRIFT = 2e-4  # seconds a second by which two clocks may part: above what any quartz does

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

T = TypeVar("T")
Rule = Callable[[Ledger, datetime], tuple[Ledger | None, T]]
"""From the ledger and the store's time to the ledger to write (None: nothing to write) and the answer."""


@dataclass(slots=True)
class Download:
    """One granted download. `at` is the moment planned for its next request, by the store's clock."""

    slot: str
    at: datetime
    feed: Feed
    priority: Priority
    sent_at: datetime | None = None
    due_at: datetime | None = None
    """When to try again, where `at_turn` or `permit` said no."""
    failure: Failure | None = None
    received: int = 0
    unused: list[datetime] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """What `take` got: downloads in the order of their moments, and when to ask for the rest (null: none is left)."""

    feed: Feed
    downloads: list[Download]
    earliest: datetime | None
    ended: list[Download] = field(default_factory=list)
    settled: bool = False


class SharedClock:
    """The store's time, told from this process's monotonic clock: every worker has the same, however its own is set.

    Each reading says that the store's time lies between two bounds; the bounds of all readings together are narrow.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._low, self._high = float("-inf"), float("inf")
        self._learned = monotonic()

    def learn(self, before: float, after: float, told: datetime) -> None:
        """Take in that between two readings of the monotonic clock the store `told` a time, cut to the millisecond."""
        low, high = told.timestamp() - after, told.timestamp() + 0.001 - before
        drifted = _DRIFT * (after - self._learned)
        self._low, self._high = max(low, self._low - drifted), min(high, self._high + drifted)
        if self._low > self._high:  # the store's clock was set, or another server answers now
            self._low, self._high = low, high
        self._learned = after

    def now(self) -> datetime:
        """The store's time; only after the first `learn`."""
        return datetime.fromtimestamp(self._monotonic() + (self._low + self._high) / 2, UTC)


@dataclass(slots=True)
class _Known:
    """What this process knows of a feed: a freeze only ever gets longer, so an old reading cannot undo it."""

    frozen_until: datetime = _LONG_AGO
    read_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class OriginBudget:
    """The budgets of all feeds, as one worker process sees them."""

    def __init__(
        self,
        budgets: Budgets,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._budgets = budgets
        self._monotonic = monotonic
        self._sleep = sleep
        self._chance = chance
        self._clock = SharedClock(monotonic)
        self._feeds: dict[str, _Known] = {}

    async def take(self, feed: Feed, wanted: int, priority: Priority) -> Batch:
        """Take up to `wanted` downloads; waits up to LONGEST_WAIT_SECONDS where none can be granted at once.

        Raises StoreUnavailable where the ledger cannot be read or written.
        """
        if wanted < 1:
            return Batch(feed, [], None)
        holder = uuid.uuid4().hex[:12]
        give_up = self._monotonic() + LONGEST_WAIT_SECONDS

        def rule(ledger: Ledger, now: datetime) -> tuple[Ledger | None, Grant]:
            taken, grant = budget.take(
                ledger, feed, wanted, priority, now, holder=holder, slot_seconds=_slot_seconds(feed)
            )
            return taken if grant.sends else None, grant

        while True:
            grant = await self._change(feed, rule)
            wait = self._seconds_until(grant.earliest)
            if grant.sends or self._monotonic() + wait > give_up:
                downloads = [Download(send.slot, send.at, feed, priority) for send in grant.sends]
                return Batch(feed, downloads, grant.earliest)
            # Those who wait for the same moment do not all come at once.
            await self._sleep(wait + 0.005 + 0.02 * self._chance())

    async def at_turn(self, download: Download) -> bool:
        """Wait for the download's moment. True: send now; False: do not, it is due again at `download.due_at`."""
        for _ in range(REPLANS):
            await self._sleep_until(download.at - _LOOK_AHEAD)
            known = await self._fresh(download.feed)
            await self._sleep_until(download.at)
            now = self._clock.now()
            if known.frozen_until > now:
                return _not_sent(download, known.frozen_until)
            if now <= download.at + budget.LATEST_START:
                download.sent_at = now
                return True
            if not await self._plan_anew(download, unused=download.at):
                break
        return _not_sent(download, download.due_at or self._clock.now())

    async def permit(self, download: Download) -> bool:
        """Wait for the moment of one more request of a running download, a redirect's. False: the budget has none."""
        return await self._plan_anew(download, unused=None) and await self.at_turn(download)

    async def finished(self, download: Download, failure: Failure | None, *, received: int, batch: Batch) -> None:
        """Note how a download ended and how many bytes came; a freeze is written at once, the rest with the last."""
        download.failure, download.received = failure, received
        batch.ended.append(download)
        if failure is not None and download.sent_at is not None and _freezes(download, failure):
            await self._freeze(download, failure, download.sent_at)
        if len(batch.ended) == len(batch.downloads):
            await self.settle(batch)

    async def _freeze(self, download: Download, failure: Failure, sent_at: datetime) -> None:
        jitter, feed = self._chance(), download.feed
        # This process holds back at once, before the ledger can say by how much.
        _note(self._known(feed), self._clock.now() + timedelta(seconds=budget.FREEZE_RANGE_SECONDS[0]))
        await self._change(
            feed, lambda ledger, now: (budget.freeze(ledger, feed, failure, sent_at, now, jitter=jitter), None)
        )

    async def settle(self, batch: Batch) -> None:
        """Give the batch's slots back and account for it. A second call does nothing."""
        if batch.settled or not batch.downloads:
            return
        batch.settled = True
        unfinished = [one for one in batch.downloads if one not in batch.ended]
        done = [_done(one, finished=True) for one in batch.ended] + [_done(one, finished=False) for one in unfinished]
        await self._change(batch.feed, lambda ledger, now: (budget.give_back(ledger, batch.feed, done, now), None))

    async def left(self, feed: Feed) -> budget.Left:
        """What the feed may still take now, for status pages."""
        return await self._change(feed, lambda ledger, now: (None, budget.budget_left(ledger, feed, now)))

    async def _plan_anew(self, download: Download, *, unused: datetime | None) -> bool:
        """Plan one more request, instead of an `unused` one where there is one."""
        feed = download.feed

        def rule(ledger: Ledger, now: datetime) -> tuple[Ledger | None, Grant]:
            taken, grant = budget.take_request(
                ledger, feed, download.slot, download.priority, now, slot_seconds=_slot_seconds(feed), unused=unused
            )
            return taken if grant.sends else None, grant

        grant = await self._change(feed, rule)
        if not grant.sends:
            download.due_at = grant.earliest
            return False
        download.at = grant.sends[0].at
        return True

    async def _change(self, feed: Feed, rule: Rule[T]) -> T:
        """Apply a rule to the stored ledger: read, decide, write if unchanged, decide again if refused."""
        async with self._known(feed).lock:
            for tries in range(_TRIES):
                ledger, revision, now = await self._read(feed)
                changed, answer = rule(ledger, now)
                if changed is None:
                    return answer
                if await self._budgets.replace(feed.name, budget.to_document(changed), revision):
                    _note(self._known(feed), budget.frozen_until(changed))
                    return answer
                await self._sleep(self._chance() * min(0.002 * 2**tries, 0.1))
        raise StoreUnavailable(f"the budget of feed {feed.name} changed {_TRIES} times while it was being written")

    async def _read(self, feed: Feed) -> tuple[Ledger, int, datetime]:
        before = self._monotonic()
        stored = await self._budgets.get(feed.name)
        after = self._monotonic()
        self._clock.learn(before, after, stored.now)
        ledger, known = budget.from_document(stored.document), self._known(feed)
        _note(known, budget.frozen_until(ledger))
        known.read_at = after
        return ledger, stored.revision, self._clock.now()

    async def _fresh(self, feed: Feed) -> _Known:
        """Learn of a freeze that another worker wrote, with one read for all who ask."""
        known = self._known(feed)
        if self._is_fresh(known):
            return known
        async with known.lock:
            if not self._is_fresh(known):
                await self._read(feed)
        return known

    def _is_fresh(self, known: _Known) -> bool:
        return self._monotonic() - known.read_at <= FREEZE_KNOWN_WITHIN_SECONDS

    def _known(self, feed: Feed) -> _Known:
        return self._feeds.setdefault(feed.name, _Known())

    async def _sleep_until(self, at: datetime) -> None:
        if (seconds := self._seconds_until(at)) > 0:
            await self._sleep(seconds)

    def _seconds_until(self, at: datetime | None) -> float:
        return max(0.0, (at - self._clock.now()).total_seconds()) if at else 0.0


def _note(known: _Known, frozen_until: datetime) -> None:
    known.frozen_until = max(known.frozen_until, frozen_until)


def _slot_seconds(feed: Feed) -> float:
    return feed.request_timeout_seconds + SLOT_MARGIN_SECONDS


def _not_sent(download: Download, due_at: datetime) -> bool:
    download.due_at = due_at
    download.unused.append(download.at)
    return False


def _freezes(download: Download, failure: Failure) -> bool:
    """Whether the origin asked for silence: a redirect that our own budget refused is no answer of the origin."""
    asked = failure.reason is Reason.THROTTLED or failure.wait_seconds is not None
    return asked and download.due_at is None


def _done(download: Download, *, finished: bool) -> Done:
    """A download whose end nobody told, or that our own budget stopped, says nothing of the origin's health."""
    sent_at = download.sent_at if finished and download.due_at is None else None
    return Done(download.slot, sent_at, download.failure, download.received, tuple(download.unused))
