"""May this request go out now? The shell around the budget's rules: one ledger write to take a batch, one to settle it.

A batch's story: `take`, then `at_turn` before each request (and `permit` before each redirect), `in_time` as it is
written, `finished` after each download, `settle` at the end. What ended is accounted for by the next write of this
process, whoever makes it; a process that dies says nothing: its slots come back when it starts again under its name,
else by expiry.
"""

import asyncio
import hashlib
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeVar

from services.downloader import budget
from services.downloader.budget import Done, Grant, Ledger
from shared import log
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.stores.budgets import Budgets
from shared.stores.errors import StoreUnavailable

LONGEST_WAIT_SECONDS = 2.0
"""So long something to be granted is waited for; what comes later is better put back as due."""
FREEZE_KNOWN_WITHIN_SECONDS = 0.1
"""How old the knowledge of a freeze that another worker wrote may be when a request goes out."""
SLOT_MARGIN_SECONDS = 10.0
"""A batch is settled within this after its last download's time ran out."""
REPLANS = 3
_LOOK_AHEAD = timedelta(milliseconds=20)  # the ledger is read before a request's moment, not in it
_TRIES = 60
_DRIFT = 2e-4  # seconds a second by which two clocks may part: above what any quartz does
_KNOWN_WITHIN_SECONDS = 1.0  # the store's time, or nothing is planned by it
_READINGS = 3

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_logger = log.get(__name__)

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
    image_id: str = ""
    """What it is used for."""
    sent_at: datetime | None = None
    is_asked: bool = False
    """Whether a request of it was written."""
    due_at: datetime | None = None
    """When to try again, where `at_turn` or `permit` said no."""
    unused: list[datetime] = field(default_factory=list)
    received: int = 0

    def receive(self, count: int) -> None:
        """Count bytes that came, so that they are charged however the download ends."""
        self.received += count


@dataclass(slots=True)
class Batch:
    """What `take` got: downloads in the order of their moments, and when to ask for the rest (null: none is left)."""

    feed: Feed
    downloads: list[Download]
    earliest: datetime | None
    running: list[Download] = field(init=False)

    def __post_init__(self) -> None:
        self.running = list(self.downloads)


class SharedClock:
    """The store's time, told from this process's monotonic clock: every worker has the same, however its own is set.

    Each reading says that the store's time lies between two bounds; the bounds of all readings together are narrow.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._low, self._high = float("-inf"), float("inf")
        self._learned = monotonic()

    def learn(self, before: float, after: float, told: datetime) -> None:
        """Take in that between two readings of the monotonic clock the store `told` a time, cut to the millisecond."""
        low, high = told.timestamp() - after, told.timestamp() + 0.001 - before
        drifted = _DRIFT * max(0.0, after - self._learned)
        self._low, self._high = max(low, self._low - drifted), min(high, self._high + drifted)
        if self._low > self._high:  # the store's clock was set, or another server answers now
            self._low, self._high = low, high
        self._learned = after

    @property
    def is_known(self) -> bool:
        """Whether the bounds are narrow enough to plan by: after a day without a prompt answer they are not."""
        return self._high - self._low <= _KNOWN_WITHIN_SECONDS

    def now(self) -> datetime:
        """The store's time; only after the first `learn`."""
        return datetime.fromtimestamp(self._monotonic() + (self._low + self._high) / 2, UTC)


@dataclass(slots=True)
class _Known:
    """What this process knows of a feed: the newest ledger that it read or wrote, and what is yet to account for."""

    ledger: Ledger = field(default_factory=Ledger)
    revision: int = -1
    read_at: float = float("-inf")
    silent_until: datetime = _LONG_AGO
    """A freeze of our own that is not written yet."""
    taken_over: bool = False
    """Whether the slots of an earlier life of this worker were given back."""
    ended: list[Done] = field(default_factory=list)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    given_back: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when slots of this process came back, for those of it who wait."""


class OriginBudget:
    """The budgets of all feeds, as one worker process sees them."""

    def __init__(
        self,
        budgets: Budgets,
        worker: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take the worker's name, the same again after a restart, by which it knows the slots of its earlier life."""
        self._budgets = budgets
        # A hash, as names hold dots, which MongoDB takes for paths.
        self._worker, self._life = hashlib.sha256(worker.encode()).hexdigest()[:8], uuid.uuid4().hex[:8]
        self._grants = count()
        self._monotonic = monotonic
        self._chance = chance
        self._clock = SharedClock(monotonic)
        self._feeds: dict[str, _Known] = {}
        self._is_closed = False

    def close(self) -> None:
        """Grant nothing more: who waits is told so at once."""
        self._is_closed = True
        for known in self._feeds.values():
            known.given_back.set()

    async def take(
        self,
        feed: Feed,
        wanted: int,
        priority: Priority,
        wait_seconds: float = LONGEST_WAIT_SECONDS,
        *,
        failed_before: bool = False,
    ) -> Batch:
        """Take up to `wanted` downloads; waits up to `wait_seconds` where none can be granted at once.

        `failed_before` says that all that is wanted did: it is not what an unwell origin should be probed with.

        Raises StoreUnavailable where the ledger cannot be read or written.
        """
        holder, known = f"{self._worker}-{self._life}-{next(self._grants)}", self._known(feed)
        give_up = self._monotonic() + wait_seconds

        def rule(ledger: Ledger, now: datetime) -> tuple[Ledger | None, Grant]:
            return budget.take(
                ledger, feed, wanted, priority, now,
                holder=holder, slot_seconds=_slot_seconds(feed), failed_before=failed_before,
            )  # fmt: skip

        while wanted > 0 and not self._is_closed:
            known.given_back.clear()
            grant = await self._change(feed, rule)
            wait = self._seconds_until(grant.earliest)
            if grant.sends or self._monotonic() + wait > give_up:
                downloads = [Download(send.slot, send.at, feed, priority) for send in grant.sends]
                return Batch(feed, downloads, grant.earliest)
            # Those who wait for the same moment do not all come at once; routine work plans ahead by more than that.
            spread = self._chance() * (0.02 if priority is Priority.VIEWED else 0.05)
            with suppress(TimeoutError):
                await asyncio.wait_for(known.given_back.wait(), wait + 0.005 + spread)
        return Batch(feed, [], None)

    async def at_turn(self, download: Download) -> bool:
        """Wait for the download's moment. True: send now; False: do not, it is due again at `download.due_at`.

        Raises StoreUnavailable where nobody can tell whether the feed is silent.
        """
        feed, known = download.feed, self._known(download.feed)
        for _ in range(REPLANS):
            await self._sleep_until(download.at - _LOOK_AHEAD)
            await self._refresh(feed)
            await self._sleep_until(download.at)
            now = self._clock.now()
            if (until := _barred_until(known, download.slot, now)) is not None:
                return _not_sent(download, until)
            if budget.is_in_time(feed, download.at, now):
                download.sent_at = now
                return True
            if not await self._plan_anew(download, unused=download.at):
                break
        return _not_sent(download, download.due_at or self._clock.now())

    async def in_time(self, download: Download) -> bool:
        """Say whether the request may still go, its connection made: one that missed its moment waits for another."""
        if not budget.is_in_time(download.feed, download.at, self._clock.now()) and not await self.at_turn(download):
            download.sent_at = download.sent_at if download.is_asked else None
            return False
        download.is_asked = True
        return True

    async def permit(self, download: Download) -> bool:
        """Wait for the moment of one more request of a running download, a redirect's. False: the budget has none."""
        return await self._plan_anew(download, unused=None) and await self.at_turn(download)

    async def finished(self, download: Download, failure: Failure | None, *, batch: Batch) -> None:
        """Note how a download ended; a freeze is written at once, the rest with the last.

        While the store is away nothing is lost and nothing raised: this process's next write carries it.
        """
        if download not in batch.running:
            return
        batch.running.remove(download)
        known = self._known(download.feed)
        done = _done(download, failure)
        known.ended.append(done)
        is_silenced = failure and done.sent_at and (failure.reason is Reason.THROTTLED or failure.wait_seconds)
        if failure and is_silenced:
            # This process holds back at once, before the ledger can say so.
            seconds = max(failure.wait_seconds or 0.0, budget.FREEZE_RANGE_SECONDS[0])
            seconds = min(seconds, budget.FREEZE_RANGE_SECONDS[1])
            known.silent_until = max(known.silent_until, self._clock.now() + timedelta(seconds=seconds))
        if is_silenced or not batch.running:
            await self._account(download.feed)

    async def settle(self, batch: Batch) -> None:
        """Give the batch's slots back and account for it; what never ended says nothing of the origin."""
        known = self._known(batch.feed)
        known.ended += [replace(_done(one, None), sent_at=None) for one in batch.running]
        batch.running.clear()
        await self._account(batch.feed)

    async def _account(self, feed: Feed) -> None:
        known = self._known(feed)
        try:
            if known.ended:
                await self._change(feed, lambda _, __: (None, None))
        except StoreUnavailable as fault:
            _logger.warning("ledger-write-failed", feed=feed.name, downloads=len(known.ended), error=str(fault))

    async def _plan_anew(self, download: Download, *, unused: datetime | None) -> bool:
        """Plan one more request, instead of an `unused` one where there is one."""
        feed = download.feed

        def rule(ledger: Ledger, now: datetime) -> tuple[Ledger | None, Grant]:
            return budget.take_request(
                ledger, feed, download.slot, download.priority, now, slot_seconds=_slot_seconds(feed), unused=unused
            )

        grant = await self._change(feed, rule)
        if not grant.sends:
            download.due_at = grant.earliest
            return False
        download.at = grant.sends[0].at
        return True

    async def _change(self, feed: Feed, rule: Rule[T]) -> T:
        """Account for what ended, then apply a rule: read, decide, write if unchanged, decide again if refused."""
        known = self._known(feed)
        async with known.writing:
            for tries in range(_TRIES):
                before, now = await self._read(feed)
                revision, done = known.revision, tuple(known.ended)
                ledger = before if known.taken_over else budget.taken_over(before, self._worker, self._life, now)
                ledger = budget.give_back(ledger, feed, done, now, jitter=self._chance()) if done else ledger
                changed, answer = rule(ledger, now)
                if changed is None and ledger is before:
                    known.taken_over = True
                    return answer
                changed = changed or ledger
                if await self._budgets.replace(feed.name, budget.to_document(changed), revision):
                    known.taken_over = True
                    del known.ended[: len(done)]
                    if done:
                        known.given_back.set()
                    if not known.ended:
                        known.silent_until = _LONG_AGO  # the ledger says it now, and may be thawed
                    _keep(known, changed, revision + 1)
                    _report(feed, before, changed)
                    return answer
                known.revision = -1  # whatever is stored now counts, even if it was put back by hand
                await asyncio.sleep(self._chance() * min(0.002 * 2**tries, 0.1))
        raise StoreUnavailable(f"the budget of feed {feed.name} changed {_TRIES} times while it was being written")

    async def _read(self, feed: Feed) -> tuple[Ledger, datetime]:
        known = self._known(feed)
        for _ in range(_READINGS):
            before = self._monotonic()
            stored = await self._budgets.get(feed.name)
            self._clock.learn(before, self._monotonic(), stored.now)
            if stored.revision >= known.revision:
                _keep(known, budget.from_document(stored.document), stored.revision)
            known.read_at = before
            if self._clock.is_known:
                return known.ledger, self._clock.now()
        raise StoreUnavailable("the store answers too slowly to tell the time by it, and requests are planned by that")

    async def _refresh(self, feed: Feed) -> None:
        """Learn what other workers wrote, with one read for all who ask."""
        known = self._known(feed)
        async with known.reading:
            if self._monotonic() - known.read_at > FREEZE_KNOWN_WITHIN_SECONDS:
                await self._read(feed)

    def _known(self, feed: Feed) -> _Known:
        return self._feeds.setdefault(feed.name, _Known())

    async def _sleep_until(self, at: datetime) -> None:
        if (seconds := self._seconds_until(at)) > 0:
            await asyncio.sleep(min(seconds, 2 * budget.HORIZON_VIEWED / budget.SECOND))

    def _seconds_until(self, at: datetime | None) -> float:
        return max(0.0, (at - self._clock.now()).total_seconds()) if at else 0.0


def _keep(known: _Known, ledger: Ledger, revision: int) -> None:
    if revision >= known.revision:
        known.ledger, known.revision = ledger, revision


def _barred_until(known: _Known, slot: str, now: datetime) -> datetime | None:
    return known.silent_until if known.silent_until > now else budget.barred_until(known.ledger, slot, now)


def _slot_seconds(feed: Feed) -> float:
    return feed.request_timeout_seconds + SLOT_MARGIN_SECONDS


def _not_sent(download: Download, due_at: datetime) -> bool:
    download.due_at = due_at
    download.unused.append(download.at)
    return False


def _done(download: Download, failure: Failure | None) -> Done:
    """What our own budget stopped says nothing of the origin; a moment at which nothing was sent is free again."""
    never_sent = [download.at] if download.sent_at is None and download.due_at is None else []
    sent_at = None if download.due_at else download.sent_at
    return Done(download.slot, download.image_id, sent_at, failure, download.received, (*download.unused, *never_sent))


def _report(feed: Feed, before: Ledger, after: Ledger) -> None:
    """Tell operators once, by the worker that wrote it."""
    if after.frozen_until > before.frozen_until:
        _logger.warning("feed-throttled", feed=feed.name, reason=after.reason)
    if after.breaker and not before.breaker:
        _logger.warning("breaker-opened", feed=feed.name, reason=after.reason)
    if before.breaker and not after.breaker:
        _logger.warning("breaker-closed", feed=feed.name, was=before.breaker.reason.value)
