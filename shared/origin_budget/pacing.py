"""When may the next request be sent? Plans times that keep to each window and to the pauses between batches."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from shared.domain.feed import Feed
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import LATE_MICROS, LATE_UNPACED_MICROS, Limits, is_paced
from shared.origin_budget.moments import Moment, to_moment
from shared.origin_budget.windows import DAY, HOUR, next_gap

LEAD_MICROS = 40_000
"""How far ahead the first paced request of a grant is planned at least, as its photo must be claimed before."""
_EARLY_MICROS = LATE_MICROS // 4
"""How much before its planned time a request may be sent, as clocks differ."""


def next_time(ledger: Ledger, limits: Limits) -> Moment:
    """Return the earliest moment, not before `ledger.as_of`, at which the limits allow one more request to be sent.

    The ledger's planned requests count as sent.
    """
    at = max(
        Moment(ledger.as_of + (LEAD_MICROS if limits.requests_per_window or limits.pause_micros else 0)),
        HOUR.below_limit_from(ledger.hour_requests, limits.requests_per_hour),
        DAY.below_limit_from(ledger.day_requests, limits.requests_per_day),
        HOUR.below_limit_from(ledger.hour_bytes, limits.bytes_per_hour),
    )
    if limits.batch_size:
        distance = limits.pause_micros if ledger.batch_requests >= limits.batch_size else limits.step_micros
        at = max(at, Moment(ledger.batch_latest + distance))
    return next_gap(ledger.planned, at, limits.requests_per_window, limits.window_micros)


def with_planned(ledger: Ledger, limits: Limits, at: Moment) -> Ledger:
    """Return the ledger with one more request planned for `at`, and counted in the hour, the day and its batch.

    `limits` are the limits of the request's priority, by which `next_time` found `at`. The request begins a new batch
    if the pause after the last batch is over at `at`. If the limits have no batches, the request is in no batch.
    """
    batch_requests, batch_latest = ledger.batch_requests, ledger.batch_latest
    if limits.batch_size:
        is_new_batch = at >= batch_latest + limits.pause_micros
        batch_requests, batch_latest = 1 if is_new_batch else batch_requests + 1, at
    return replace(
        ledger,
        planned=tuple(sorted((*ledger.planned, at))) if limits.requests_per_window else (),
        hour_requests=HOUR.added(ledger.hour_requests, at, 1),
        day_requests=DAY.added(ledger.day_requests, at, 1),
        batch_requests=batch_requests,
        batch_latest=batch_latest,
    )


def without_planned(ledger: Ledger, unused: Iterable[datetime]) -> Ledger:
    """Return the ledger without the requests of the planned times `unused`, at which no request was sent.

    These requests are no longer counted in the hour and the day, so that others can be planned. They are still counted
    in their batch.
    """
    planned, hour, day = list(ledger.planned), ledger.hour_requests, ledger.day_requests
    for at in map(to_moment, unused):
        if at in planned:
            planned.remove(at)
        hour, day = HOUR.added(hour, at, -1), DAY.added(day, at, -1)
    return replace(ledger, planned=tuple(planned), hour_requests=hour, day_requests=day)


def is_on_time(feed: Feed, planned_at: datetime, now: datetime) -> bool:
    """Return True if a request that was planned for `planned_at` may be sent at `now`.

    It may be sent from 10 ms before its planned time on: until 40 ms after it if the feed is paced (`limits.is_paced`),
    otherwise until 2 s after it.
    """
    late = LATE_MICROS if is_paced(feed) else LATE_UNPACED_MICROS
    return -_EARLY_MICROS <= to_moment(now) - to_moment(planned_at) <= late
