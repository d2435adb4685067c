"""May this request go now? The shell around the rules: one ledger write to take a batch, one to give it back.

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
from typing import Generic, TypeVar

from shared import log
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget import codec, grants, suspension, throttling
from shared.origin_budget.accounting import EndedDownload, with_ended
from shared.origin_budget.advance import with_earlier_life_expired
from shared.origin_budget.cache import LedgerCache
from shared.origin_budget.clock import SharedClock
from shared.origin_budget.codec import Document
from shared.origin_budget.downloads import Batch, GrantedDownload
from shared.origin_budget.grants import Demand, Grant
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import HORIZON_VIEWED_MICROS
from shared.origin_budget.moments import SECOND_MICROS
from shared.origin_budget.pacing import is_on_time
from shared.stores import ledgers as ledger_store
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.ledgers import Ledgers, StoredLedger

MAX_WAIT_SECONDS = 2.0
"""How long to wait for a grant; what comes later is better put back as due."""
_SLOT_MARGIN_SECONDS = 10.0
"""A batch is given back within this after its last download's time ran out."""
_MAX_PLANS = 3
"""How often a request that misses its planned time gets another."""
_LOOK_AHEAD = timedelta(milliseconds=20)
"""The ledger is read so long before a request's planned time, not in it."""
_MAX_SLEEP_SECONDS = 2 * HORIZON_VIEWED_MICROS / SECOND_MICROS
"""Nothing is planned further ahead; a longer wait is a clock's fault."""
_SPREAD_SECONDS, _SPREAD_VIEWED_SECONDS = 0.05, 0.02
"""Those who wait for the same moment do not all ask at once; routine work plans ahead by more than that."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_logger = log.get(__name__)

T = TypeVar("T")
Rule = Callable[[Ledger, datetime], tuple[Ledger | None, T]]
"""From the ledger and the store's time to the ledger to write (None: nothing to write) and the answer."""


@dataclass(frozen=True, slots=True)
class _Change(Generic[T]):
    """What one write changed: the ledger before and after it, how many ends it accounts for, and the rule's answer."""

    before: Ledger
    after: Ledger
    ended: int
    answer: T


@dataclass(slots=True)
class _FeedState:
    """What this process has yet to write of a feed, and who in it waits."""

    throttled_until: datetime = _LONG_AGO
    """Until when an answer that is not in the ledger yet suspends the feed."""
    is_taken_over: bool = False
    """True once the slots of an earlier life of this worker were given back."""
    ended: list[EndedDownload] = field(default_factory=list)
    """The ends that no write accounts for yet, in their order."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    given_back: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when slots of this process came back, for those of it who wait."""


class OriginBudget:
    """The budgets of all feeds, as one worker process sees them."""

    def __init__(
        self,
        ledgers: Ledgers,
        worker: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take the worker's name, the same again after a restart, by which it knows the slots of its earlier life."""
        # A hash, as names hold dots, which MongoDB takes for paths.
        self._worker, self._life = hashlib.sha256(worker.encode()).hexdigest()[:8], uuid.uuid4().hex[:8]
        self._grants = count()
        self._monotonic = monotonic
        self._chance = chance
        self._clock = SharedClock(monotonic)
        self._ledgers = LedgerCache(ledgers, self._clock, monotonic)
        self._feeds: dict[str, _FeedState] = {}
        self._is_closed = False

    def close(self) -> None:
        """Grant nothing more: who waits is told so at once."""
        self._is_closed = True
        for state in self._feeds.values():
            state.given_back.set()

    async def take(
        self,
        feed: Feed,
        wanted: int,
        priority: Priority,
        wait_seconds: float = MAX_WAIT_SECONDS,
        *,
        failed_before: bool = False,
    ) -> Batch:
        """Take up to `wanted` downloads; waits up to `wait_seconds` where none can be granted at once.

        `failed_before` says that all that is wanted did: it is not what an unwell origin should be probed with.

        Raises StoreUnavailable where the ledger cannot be read or written.
        """
        state, give_up = self._state(feed), self._monotonic() + wait_seconds
        demand = Demand(
            count=wanted,
            priority=priority,
            holder=f"{self._worker}-{self._life}-{next(self._grants)}",
            slot_seconds=_slot_seconds(feed),
            failed_before=failed_before,
        )
        while wanted > 0 and not self._is_closed:
            state.given_back.clear()
            grant = await self._change(feed, lambda ledger, now: grants.take(ledger, feed, demand, now))
            wait = self._seconds_until(grant.ask_again_at)
            if grant.requests or self._monotonic() + wait > give_up:
                downloads = [GrantedDownload(one.slot, one.at, feed, priority) for one in grant.requests]
                return Batch(feed, downloads, grant.ask_again_at)
            spread = self._chance() * (_SPREAD_VIEWED_SECONDS if priority is Priority.VIEWED else _SPREAD_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(state.given_back.wait(), wait + 0.005 + spread)
        return Batch(feed, [], None)

    async def at_turn(self, download: GrantedDownload) -> bool:
        """Wait for the download's moment. True: send now; False: do not, it is due again at `download.due_at`.

        Raises StoreUnavailable where nobody can tell whether the feed is suspended.
        """
        feed, state = download.feed, self._state(download.feed)
        for _ in range(_MAX_PLANS):
            await self._sleep_until(download.planned_at - _LOOK_AHEAD)
            await self._ledgers.refresh(feed.name)
            await self._sleep_until(download.planned_at)
            now = self._clock.now()
            if (until := self._refused_until(state, download, now)) is not None:
                download.refuse(until)
                return False
            if is_on_time(feed, download.planned_at, now):
                download.sent_at = now
                return True
            if not await self._plan_anew(download, unused=download.planned_at):
                break
        download.refuse(download.due_at or self._clock.now())
        return False

    async def in_time(self, download: GrantedDownload) -> bool:
        """Say whether the request may still go, its connection made: one that missed its moment waits for another."""
        if not is_on_time(download.feed, download.planned_at, self._clock.now()) and not await self.at_turn(download):
            download.sent_at = download.sent_at if download.is_request_written else None
            return False
        download.is_request_written = True
        return True

    async def permit(self, download: GrantedDownload) -> bool:
        """Wait for the moment of one more request of a running download, a redirect's. False: the budget has none."""
        return await self._plan_anew(download, unused=None) and await self.at_turn(download)

    async def finished(self, download: GrantedDownload, failure: Failure | None, *, batch: Batch) -> None:
        """Note how a download ended; a throttling is written at once, the rest with the last.

        While the store is away nothing is lost and nothing raised: this process's next write carries it.
        """
        if download not in batch.running:
            return
        batch.running.remove(download)
        state, ended = self._state(download.feed), download.ended(failure)
        state.ended.append(ended)
        is_throttled = failure and ended.sent_at and (failure.reason is Reason.THROTTLED or failure.wait_seconds)
        if failure and is_throttled:
            # This process holds back at once, before the ledger can say so.
            seconds = throttling.bounded(failure.wait_seconds or 0.0)
            state.throttled_until = max(state.throttled_until, self._clock.now() + timedelta(seconds=seconds))
        if is_throttled or not batch.running:
            await self._account(download.feed)

    async def settle(self, batch: Batch) -> None:
        """Give the batch's slots back and account for it; what never ended says nothing of the origin."""
        self._state(batch.feed).ended += [replace(download.ended(None), sent_at=None) for download in batch.running]
        batch.running.clear()
        await self._account(batch.feed)

    async def _account(self, feed: Feed) -> None:
        state = self._state(feed)
        try:
            if state.ended:
                await self._change(feed, lambda _, __: (None, None))
        except (StoreUnavailable, Contention) as error:
            _logger.warning("ledger-write-failed", feed=feed.name, downloads=len(state.ended), error=str(error))

    async def _plan_anew(self, download: GrantedDownload, *, unused: datetime | None) -> bool:
        """Plan one more request, instead of an `unused` one where there is one."""
        feed = download.feed

        def rule(ledger: Ledger, now: datetime) -> tuple[Ledger | None, Grant]:
            return grants.take_request(
                ledger, feed, download.slot, download.priority, now, slot_seconds=_slot_seconds(feed), unused=unused
            )

        grant = await self._change(feed, rule)
        if not grant.requests:
            download.due_at = grant.ask_again_at
            return False
        download.planned_at = grant.requests[0].at
        return True

    async def _change(self, feed: Feed, rule: Rule[T]) -> T:
        """Account for what ended, then apply a rule; return its answer. Raises StoreUnavailable and Contention."""
        state = self._state(feed)

        def decide(stored: StoredLedger) -> tuple[Document | None, _Change[T]]:
            before, now, ended = stored.ledger, self._clock.now(), tuple(state.ended)
            ledger = before
            if not state.is_taken_over:
                ledger = with_earlier_life_expired(ledger, self._worker, self._life, now)
            if ended:
                ledger = with_ended(ledger, feed, ended, now, jitter=self._chance())
            changed, answer = rule(ledger, now)
            after = changed or ledger
            document = None if after is before else codec.to_document(after)
            return document, _Change(before, after, len(ended), answer)

        async with state.writing:
            change = await ledger_store.update(self._ledgers, feed.name, decide, self._chance)
            state.is_taken_over = True
            del state.ended[: change.ended]
            if change.ended:
                state.given_back.set()
            if not state.ended:
                state.throttled_until = _LONG_AGO  # the ledger says it now, and the suspension may have been ended
            _report(feed, change.before, change.after)
            return change.answer

    def _state(self, feed: Feed) -> _FeedState:
        return self._feeds.setdefault(feed.name, _FeedState())

    def _refused_until(self, state: _FeedState, download: GrantedDownload, now: datetime) -> datetime | None:
        if state.throttled_until > now:
            return state.throttled_until
        return suspension.refused_until(self._ledgers.newest(download.feed.name), download.slot, now)

    async def _sleep_until(self, at: datetime) -> None:
        if (seconds := self._seconds_until(at)) > 0:
            await asyncio.sleep(min(seconds, _MAX_SLEEP_SECONDS))

    def _seconds_until(self, at: datetime | None) -> float:
        return max(0.0, (at - self._clock.now()).total_seconds()) if at else 0.0


def _slot_seconds(feed: Feed) -> float:
    return feed.request_timeout_seconds + _SLOT_MARGIN_SECONDS


def _report(feed: Feed, before: Ledger, after: Ledger) -> None:
    """Log what an operator should know, once, by the worker that wrote it."""
    if after.throttled_until > before.throttled_until:
        _logger.warning("feed-throttled", feed=feed.name, reason=after.reason)
    if after.breaker and not before.breaker:
        _logger.warning("breaker-opened", feed=feed.name, reason=after.reason)
    if before.breaker and not after.breaker:
        _logger.warning("breaker-closed", feed=feed.name, was=before.breaker.reason.value)
