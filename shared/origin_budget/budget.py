"""The origin budget as workers use it: may this request be sent now, and when may the next?

A worker calls these methods of OriginBudget for each batch of downloads:

1. `take` gets the downloads granted, with one write of the feed's ledger.
2. `wait_for_planned_time` waits before a download's first request, `wait_for_another_request` before each redirect's.
3. `confirm_on_time` checks the time again once the connection is made, just before the request is written.
4. `record_end` records the origin's answer.
5. `give_back` frees the slots that the batch still has, with one more write of the ledger.

The next write of the ledger by this process accounts for an ended download, whichever method makes that write. A
process that dies accounts for nothing: its slots are freed when it starts again under its name, or when they expire.
"""

import asyncio
import hashlib
import itertools
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from shared import log
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget import changes, codec, grants, suspension, throttling
from shared.origin_budget.accounting import EndedDownload, with_ended
from shared.origin_budget.advance import advanced, with_earlier_runs_expired
from shared.origin_budget.cache import LedgerCache
from shared.origin_budget.clock import SharedClock
from shared.origin_budget.codec import Document
from shared.origin_budget.downloads import DownloadBatch, GrantedDownload
from shared.origin_budget.grants import Demand, Grant
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import HORIZON_VIEWED_MICROS
from shared.origin_budget.moments import SECOND_MICROS, to_datetime
from shared.origin_budget.pacing import is_on_time
from shared.stores import ledgers as ledger_store
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.ledgers import Ledgers, StoredLedger

MAX_WAIT_SECONDS = 2.0
"""How long `take` waits for a grant by default; a photo that must wait longer is better deferred."""
_SLOT_MARGIN_SECONDS = 10.0
"""How long after its timeout a download still has its slot: its batch is given back by then."""
_MAX_PLANS = 3
"""How many planned times a request gets, one after the other, if it misses them."""
_LOOK_AHEAD = timedelta(milliseconds=20)
"""The ledger is read this long before a request's planned time, as the reading takes time."""
_MAX_SLEEP_SECONDS = 2 * HORIZON_VIEWED_MICROS / SECOND_MICROS
"""No request is planned further ahead. Only a clock that was set could make a wait longer."""
_SPREAD_SECONDS, _SPREAD_VIEWED_SECONDS = 0.05, 0.02
"""Tasks that wait for the same moment ask again spread over this time. Routine requests are planned further ahead."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_logger = log.get(__name__)

T = TypeVar("T")
Rule = Callable[[Ledger, datetime], tuple[Ledger | None, T]]
"""A function that takes the ledger and the store's time, and returns the ledger to write and an answer for its caller.
None in place of the ledger: it changes nothing."""


@dataclass(frozen=True, slots=True)
class _Change(Generic[T]):
    """A change of a feed's ledger: the ledger before and after it, and what the rule that made the change answers."""

    before: Ledger
    after: Ledger
    ended: int
    """How many ended downloads the change accounts for."""
    answer: T


@dataclass(slots=True)
class _FeedState:
    """What this process knows of a feed and has not written to its ledger yet, and the signals to its waiting tasks."""

    throttled_until: datetime = _LONG_AGO
    """Until when the feed is throttled by answers that no write of the ledger accounts for yet."""
    is_earlier_run_expired: bool = False
    """True once the slots of this worker's earlier runs were freed."""
    ended: list[EndedDownload] = field(default_factory=list)
    """The ended downloads that no write of the ledger accounts for yet, in the order of their ends."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    slots_freed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when slots of this process were freed, to wake its tasks that wait for a grant."""


class OriginBudget:
    """The budgets of all feeds, for one worker process. All workers share the feeds' ledgers in MongoDB."""

    def __init__(
        self,
        ledgers: Ledgers,
        worker: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Create the object without reading a ledger: a feed's ledger is read when the feed is first asked for.

        `worker` is this worker's name. It must stay the same over restarts, so that the slots of an earlier run can be
        freed. `monotonic` returns a time in seconds that never goes back. `chance` returns a random number from 0 to 1,
        for jitter.
        """
        # A hash: names may contain dots, and MongoDB takes the dots of a key for a path.
        self._worker, self._run = hashlib.sha256(worker.encode()).hexdigest()[:8], uuid.uuid4().hex[:8]
        self._grant_numbers = itertools.count()
        self._monotonic = monotonic
        self._chance = chance
        self._clock = SharedClock(monotonic)
        self._ledgers = LedgerCache(ledgers, self._clock, monotonic)
        self._feeds: dict[str, _FeedState] = {}
        self._is_closed = False

    def close(self) -> None:
        """Grant no more downloads to this process; running downloads go on.

        Each `take` that waits now, and each later call of it, returns an empty batch at once.
        """
        self._is_closed = True
        for state in self._feeds.values():
            state.slots_freed.set()

    async def take(
        self,
        feed: Feed,
        count: int,
        priority: Priority,
        wait_seconds: float = MAX_WAIT_SECONDS,
        *,
        failed_before: bool = False,
        ignores_breaker: bool = False,
    ) -> DownloadBatch:
        """Ask the feed's budget for `count` downloads; return those that were granted, at most `feed.batch_size`.

        `priority` decides which share of each limit may be used. If no download is granted at once, the budget is asked
        again for up to `wait_seconds`. After that, an empty batch is returned, whose `ask_again_at` says when to ask
        again; it is None after `close`.

        `failed_before` is True if all the photos to download failed before: while the breaker is open, they leave its
        probe to other photos for some seconds. `ignores_breaker` is True for requests to the MLS's API, because the
        breaker is about the image hosts only.

        Raises StoreUnavailable if the store does not answer, and Contention if other workers keep changing the ledger.
        """
        state, give_up = self._state(feed), self._monotonic() + wait_seconds
        demand = Demand(
            count=count,
            priority=priority,
            holder=f"{self._worker}-{self._run}-{next(self._grant_numbers)}",
            slot_seconds=_slot_seconds(feed),
            failed_before=failed_before,
        )
        while count > 0 and not self._is_closed:
            state.slots_freed.clear()
            rule = _for_api(_taking(feed, demand)) if ignores_breaker else _taking(feed, demand)
            grant = await self._change(feed, rule)
            wait = self._seconds_until(grant.ask_again_at)
            if grant.requests or self._monotonic() + wait > give_up:
                return _batch(feed, priority, grant, ignores_breaker=ignores_breaker)
            spread = self._chance() * (_SPREAD_VIEWED_SECONDS if priority is Priority.VIEWED else _SPREAD_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(state.slots_freed.wait(), wait + 0.005 + spread)
        return DownloadBatch(feed, [], None)

    async def resumes_at(self, feed: Feed) -> datetime | None:
        """Return when to ask for downloads again if the feed is suspended now; None if it is not suspended.

        None also if the breaker is open and its next probe is due. Raises StoreUnavailable if the feed's ledger cannot
        be read.
        """
        await self._ledgers.refresh(feed.name)
        at = suspension.grants_resume_at(advanced(self._ledgers.newest(feed.name), feed, self._clock.now()))
        return None if at is None else to_datetime(at)

    async def wait_for_planned_time(self, download: GrantedDownload) -> bool:
        """Wait until the planned time of the download's next request; return True if the request may be sent now.

        If the request misses its planned time, another time is planned and waited for, up to three times in all. Return
        False if the feed is suspended at the planned time, or if the budget has no other time; `download.due_at` then
        says when to attempt the photo again.

        Raises StoreUnavailable if the store does not answer, and Contention if other workers keep changing the ledger.
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

    async def confirm_on_time(self, download: GrantedDownload) -> bool:
        """Return True if the download's request may be written now that its connection is made.

        The caller has called `wait_for_planned_time` or `wait_for_another_request` before, and it returned True. If
        connecting took so long that the request missed its planned time, wait for another one, as
        `wait_for_planned_time` does. Return False if the request must not be written: `download.due_at` then says when
        to attempt the photo again.

        Raises StoreUnavailable if the store does not answer, and Contention if other workers keep changing the ledger.
        """
        if not is_on_time(download.feed, download.planned_at, self._clock.now()):
            is_allowed = await self.wait_for_planned_time(download)
            if not is_allowed:
                download.sent_at = download.sent_at if download.is_request_written else None
                return False
        download.is_request_written = True
        return True

    async def wait_for_another_request(self, download: GrantedDownload) -> bool:
        """Plan one more request of a running download, to follow a redirect, and wait for the planned time.

        Return True if the request may be sent now. Return False if the budget has no time for the request, or if the
        feed is suspended: `download.due_at` then says when to attempt the photo again.

        Raises StoreUnavailable if the store does not answer, and Contention if other workers keep changing the ledger.
        """
        return await self._plan_anew(download, unused=None) and await self.wait_for_planned_time(download)

    async def record_end(
        self,
        download: GrantedDownload,
        failure: Failure | None,
        *,
        batch: DownloadBatch,
        says_nothing: bool = False,
    ) -> None:
        """Record that a download of the batch ended; `failure` is None after a good answer.

        If `says_nothing` is True, the answer says nothing about the origin: it changes no throttling and no breaker. A
        download whose end is recorded already is ignored.

        The ledger is written at once if the origin throttles, or if this is the last download of the batch to end.
        Otherwise this process's next write of the ledger accounts for the end. A write that fails is logged, and the
        next write accounts for the end instead.
        """
        if download not in batch.running:
            return
        batch.running.remove(download)
        state, ended = self._state(download.feed), download.ended(failure)
        if says_nothing:
            ended = replace(ended, sent_at=None)
        state.ended.append(ended)
        is_throttled = failure and ended.sent_at and (failure.reason is Reason.THROTTLED or failure.wait_seconds)
        if failure and is_throttled:
            # This process sends no request from now on, before the ledger is written.
            seconds = throttling.bounded(failure.wait_seconds or 0.0)
            state.throttled_until = max(state.throttled_until, self._clock.now() + timedelta(seconds=seconds))
        if is_throttled or not batch.running:
            await self._account(download.feed)

    async def give_back(self, batch: DownloadBatch) -> None:
        """Free the slots of all downloads of the batch in the feed's ledger, and account for every download that ended.

        A download without a recorded end counts neither as a good answer nor as a failure. A write that fails is
        logged, and this process's next write of the ledger accounts for the batch instead.
        """
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
        """Plan one more request of the running download in the feed's ledger; return True if the budget has a time.

        `unused` is the planned time that the request missed, None if the request follows a redirect. The missed time
        becomes free for other requests if the budget has another time. `download.planned_at` is set if the result is
        True; otherwise `download.due_at` is set.

        Raises StoreUnavailable if the store does not answer, and Contention if other workers keep changing the ledger.
        """
        feed = download.feed

        def rule(ledger: Ledger, now: datetime) -> tuple[Ledger | None, Grant]:
            return grants.take_request(
                ledger, feed, download.slot, download.priority, now, slot_seconds=_slot_seconds(feed), unused=unused
            )

        grant = await self._change(feed, _for_api(rule) if download.ignores_breaker else rule)
        if not grant.requests:
            download.due_at = grant.ask_again_at
            return False
        download.planned_at = grant.requests[0].at
        return True

    async def _change(self, feed: Feed, rule: Rule[T]) -> T:
        """Account for all ended downloads, apply `rule` to the feed's ledger and write it; return the rule's answer.

        `rule` gets the ledger and the store's time. It returns the ledger to write, None for no change, and an answer.
        If another worker wrote the ledger meanwhile, `rule` is called again. Nothing is written if the ledger did not
        change.

        Raises StoreUnavailable if the store does not answer, and Contention if other workers keep changing the ledger.
        """
        state = self._state(feed)

        def decide(stored: StoredLedger) -> tuple[Document | None, _Change[T]]:
            before, now, ended = stored.ledger, self._clock.now(), tuple(state.ended)
            ledger = before
            if not state.is_earlier_run_expired:
                ledger = with_earlier_runs_expired(ledger, self._worker, self._run, now)
            if ended:
                ledger = with_ended(ledger, feed, ended, now, jitter=self._chance())
            changed, answer = rule(ledger, now)
            after = changed or ledger
            document = None if after is before else codec.to_document(after)
            return document, _Change(before, after, len(ended), answer)

        async with state.writing:
            change = await ledger_store.update(self._ledgers, feed.name, decide, self._chance)
            state.is_earlier_run_expired = True
            del state.ended[: change.ended]
            if change.ended:
                state.slots_freed.set()
            if not state.ended:
                state.throttled_until = _LONG_AGO  # the ledger has the throttling now, and an operator may end it there
            changes.log_change(feed, change.before, change.after)
            return change.answer

    def _state(self, feed: Feed) -> _FeedState:
        return self._feeds.setdefault(feed.name, _FeedState())

    def _refused_until(self, state: _FeedState, download: GrantedDownload, now: datetime) -> datetime | None:
        if state.throttled_until > now:
            return state.throttled_until
        ledger = self._ledgers.newest(download.feed.name)
        if download.ignores_breaker:
            ledger = replace(ledger, breaker=None)
        return suspension.refused_until(ledger, download.slot, now)

    async def _sleep_until(self, at: datetime) -> None:
        if (seconds := self._seconds_until(at)) > 0:
            await asyncio.sleep(min(seconds, _MAX_SLEEP_SECONDS))

    def _seconds_until(self, at: datetime | None) -> float:
        return max(0.0, (at - self._clock.now()).total_seconds()) if at else 0.0


def _batch(feed: Feed, priority: Priority, grant: Grant, *, ignores_breaker: bool) -> DownloadBatch:
    downloads = [
        GrantedDownload(request.slot, request.at, feed, priority, ignores_breaker) for request in grant.requests
    ]
    return DownloadBatch(feed, downloads, grant.ask_again_at)


def _taking(feed: Feed, demand: Demand) -> Rule[Grant]:
    return lambda ledger, now: grants.take(ledger, feed, demand, now)


def _for_api(rule: Rule[T]) -> Rule[T]:
    """Return `rule` changed for requests to the MLS's API, because the breaker is about the image hosts only.

    The returned rule calls `rule` with the ledger as if its breaker were closed, and keeps the ledger's breaker.
    """

    def without_breaker(ledger: Ledger, now: datetime) -> tuple[Ledger | None, T]:
        changed, answer = rule(replace(ledger, breaker=None), now)
        return changed and replace(changed, breaker=ledger.breaker), answer

    return without_breaker


def _slot_seconds(feed: Feed) -> float:
    return feed.request_timeout_seconds + _SLOT_MARGIN_SECONDS
