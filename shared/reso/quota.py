"""Keeps the requests of all processes to a feed's RESO Web API within the API's limits.

The requests are counted in a ledger, as requests for photos are (`shared.origin_budget`). The API has a ledger of its
own, unless its vendor counts requests to the API and for photos together.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import Protocol

from shared.clock import Clock
from shared.domain import quota_headers
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.domain.quota_headers import ReportedLimits
from shared.domain.reso_profiles import counts_together
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.downloads import DownloadBatch, GrantedDownload
from shared.reso.errors import MlsFailure, MlsUnavailable

MAX_WAIT_SECONDS = 3_900.0
"""How long a sweep's request waits: more than an hour, so that the limit of an hour does not end the sweep."""
_MAX_SLOTS = 64
"""So many that they limit nothing: the API has no such limit, and each client sends one request after the other."""
_REQUEST_SECONDS = 60.0


def api_rules(feed: Feed) -> Feed:
    """Return the limits of the feed's API in the form of a feed, as the origin budget takes them.

    The `name` of the result is the name of the ledger. It is the feed's own name if the vendor counts requests to the
    API and for photos together, else the feed's name and ":api". No feed has a colon in its name, so no feed has that
    ledger.
    """
    if counts_together(feed):
        return replace(feed, concurrency=_MAX_SLOTS, batch_pause_seconds=0.0, request_timeout_seconds=_REQUEST_SECONDS)
    return replace(
        feed,
        name=f"{feed.name}:api",
        requests_per_second=feed.reso.requests_per_second,
        requests_per_hour=feed.reso.requests_per_hour,
        requests_per_day=feed.reso.requests_per_day,
        bytes_per_hour=0,
        viewed_reserve=feed.viewed_reserve if feed.refreshes_urls else 0.0,
        concurrency=_MAX_SLOTS,
        batch_size=10,
        batch_pause_seconds=0.0,
        request_timeout_seconds=_REQUEST_SECONDS,
    )


class ApiRequest:
    """A request to the API that the quota granted, and that the caller sends."""

    def __init__(self, budget: OriginBudget, download: GrantedDownload, clock: Clock) -> None:
        self._budget = budget
        self._download = download
        self._clock = clock
        self.reported = ReportedLimits()
        """The limits that the headers of the answer report."""

    async def confirm(self) -> None:
        """Check that the planned time of the request still holds; if it has passed, wait for a new planned time.

        Called once the connection is made, just before the request is sent.

        Raises MlsUnavailable if the API's limits allow no other time, StoreUnavailable if the database does not answer,
        and Contention if other workers keep changing the ledger.
        """
        if not await self._budget.confirm_on_time(self._download):
            raise spent(self._download.due_at, self._clock())

    def receive(self, count: int) -> None:
        """Count `count` more received bytes of the answer, for the ledger."""
        self._download.receive(count)

    def read(self, headers: Mapping[str, str]) -> None:
        """Note in `reported` which limits of the API the headers of an answer name; `headers` are values by name."""
        self.reported = quota_headers.read(headers, self._clock())


class Pacing(Protocol):
    """Decides when each request to an API may be sent."""

    def request(self) -> AbstractAsyncContextManager["PacedRequest"]:
        """Return an async context that waits at its start until one request may be sent; the caller sends it inside.

        Raises MlsUnavailable if the API's limits allow no request in time, StoreUnavailable if the database does not
        answer, and Contention if other workers keep changing the ledger.
        """


class PacedRequest(Protocol):
    """A request that may be sent, since its planned time has come."""

    async def confirm(self) -> None:
        """Check that the request is still on time now that its connection is made; wait for another time if it is late.

        Called just before the request is written. Raises MlsUnavailable if there is no other time.
        """

    def receive(self, count: int) -> None:
        """Count `count` more received bytes of the answer."""

    def read(self, headers: Mapping[str, str]) -> None:
        """Note which limits of the API the headers of an answer with status 200 name; `headers` are values by name."""


class FixedPause:
    """Keeps a pause between two requests of this process, and counts nothing; for tools that send few requests."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._not_before = 0.0

    @asynccontextmanager
    async def request(self) -> AsyncIterator[PacedRequest]:
        """Wait until the pause after the last request is over; the end of this context begins the next pause."""
        await asyncio.sleep(self._not_before - monotonic())
        try:
            yield _UncountedRequest()
        finally:
            self._not_before = monotonic() + self._seconds


class _UncountedRequest:
    async def confirm(self) -> None:
        return

    def receive(self, count: int) -> None:
        return

    def read(self, headers: Mapping[str, str]) -> None:
        return


class ApiQuota:
    """Grants the requests of one process to the API of one feed's MLS, by a ledger that all processes share."""

    def __init__(
        self,
        feed: Feed,
        budget: OriginBudget,
        clock: Clock,
        *,
        priority: Priority = Priority.ROUTINE,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """`priority` decides which share of each limit the requests may use.

        `max_wait_seconds` is how long a request waits for its time before it fails.
        """
        self._rules = api_rules(feed)
        self._has_own_ledger = self._rules.name != feed.name
        self._budget = budget
        self._clock = clock
        self._priority = priority
        self._max_wait = max_wait_seconds
        self._reported = ReportedLimits()

    @asynccontextmanager
    async def request(self) -> AsyncIterator[PacedRequest]:
        """Wait until the API's limits allow one request, and count it; the caller sends it inside this async context.

        If the request fails because the MLS throttles, no process sends a request for as long as the MLS asks. Raises
        MlsUnavailable if no request is allowed within `max_wait_seconds`, StoreUnavailable if the database does not
        answer, and Contention if other workers keep changing the ledger.
        """
        batch = await self._budget.take(self._limited(), 1, self._priority, self._max_wait, ignores_breaker=True)
        if not batch.downloads:
            raise spent(batch.ask_again_at, self._clock())
        (download,) = batch.downloads
        request, failure = ApiRequest(self._budget, download, self._clock), None
        try:
            if not await self._budget.wait_for_planned_time(download):
                raise spent(download.due_at, self._clock())
            yield request
        except MlsUnavailable as error:
            failure = _failure_of(error)
            raise
        finally:
            self._reported = self._reported.merged(request.reported)
            if not failure and request.reported.wait_seconds:
                failure = Failure(Reason.THROTTLED, wait_seconds=request.reported.wait_seconds)
            await self._record(batch, download, failure)

    async def _record(self, batch: DownloadBatch, download: GrantedDownload, failure: Failure | None) -> None:
        if failure or self._has_own_ledger:
            await self._budget.record_end(download, failure, batch=batch)
        else:
            # In the photos' ledger, an answer of the API says nothing about the hosts of photos.
            await self._budget.give_back(batch)

    def _limited(self) -> Feed:
        """Return the API's limits, lowered to the limits that answers of the API have reported."""
        rules, reported = self._rules, self._reported
        if reported.per_minute:
            rate = reported.per_minute / 60
            rules = replace(rules, requests_per_second=min(rules.requests_per_second or rate, rate))
        if reported.per_hour:
            hourly = max(1, int(reported.per_hour))
            rules = replace(rules, requests_per_hour=min(rules.requests_per_hour or hourly, hourly))
        return rules


def spent(ask_again_at: datetime | None, now: datetime) -> MlsUnavailable:
    """Return the error for a request that the API's limits do not allow before `ask_again_at`.

    Its `wait_seconds` is the time from `now` to `ask_again_at`; None if `ask_again_at` is None.
    """
    wait = max(0.0, (ask_again_at - now).total_seconds()) if ask_again_at else None
    return MlsUnavailable(MlsFailure.QUOTA, "the limits of the MLS's API allow no request now", wait)


def _failure_of(error: MlsUnavailable) -> Failure | None:
    """Return the failure to record in the API's ledger after `error`, which throttles the API.

    The result is None if the MLS did not ask to wait.
    """
    if error.failure is MlsFailure.THROTTLED:
        return Failure(Reason.THROTTLED, wait_seconds=error.wait_seconds)
    if error.wait_seconds is not None and error.failure is MlsFailure.MLS_ERROR:
        return Failure(Reason.ORIGIN_ERROR, wait_seconds=error.wait_seconds)
    return None
