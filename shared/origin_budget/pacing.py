"""When may the next request go? Planned times that keep every window and every pause."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from shared.domain.feed import Feed
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import LATE_MICROS, LATE_UNPACED_MICROS, Limits, is_paced
from shared.origin_budget.moments import Moment, to_moment
from shared.origin_budget.windows import DAY, HOUR, next_gap

LEAD_MICROS = 40_000
"""Between a grant and its first paced request: the time that claiming the photos takes."""
_EARLY_MICROS = LATE_MICROS // 4
"""A request may go so much before its planned time: clocks differ."""


def next_time(ledger: Ledger, limits: Limits) -> Moment:
    """Return the earliest moment at which one more request breaks no limit."""
    at = max(
        Moment(ledger.as_of + (LEAD_MICROS if limits.per_window or limits.pause else 0)),
        HOUR.below_limit_from(ledger.hour_requests, limits.hour),
        DAY.below_limit_from(ledger.day_requests, limits.day),
        HOUR.below_limit_from(ledger.hour_bytes, limits.received),
    )
    if limits.batch:
        distance = limits.pause if ledger.batch_requests >= limits.batch else limits.step
        at = max(at, Moment(ledger.batch_latest + distance))
    return next_gap(ledger.planned, at, limits.per_window, limits.window)


def with_planned(ledger: Ledger, limits: Limits, at: Moment) -> Ledger:
    """Return the ledger with one more request planned for `at`, counted in every window and in its batch."""
    batch_requests, batch_latest = ledger.batch_requests, ledger.batch_latest
    if limits.batch:
        is_new_batch = at >= batch_latest + limits.pause
        batch_requests, batch_latest = 1 if is_new_batch else batch_requests + 1, at
    return replace(
        ledger,
        planned=tuple(sorted((*ledger.planned, at))) if limits.per_window else (),
        hour_requests=HOUR.added(ledger.hour_requests, at, 1),
        day_requests=DAY.added(ledger.day_requests, at, 1),
        batch_requests=batch_requests,
        batch_latest=batch_latest,
    )


def without_planned(ledger: Ledger, unused: Iterable[datetime]) -> Ledger:
    """Return the ledger without planned requests that were never sent, given by their planned times."""
    planned, hour, day = list(ledger.planned), ledger.hour_requests, ledger.day_requests
    for at in map(to_moment, unused):
        if at in planned:
            planned.remove(at)
        hour, day = HOUR.added(hour, at, -1), DAY.added(day, at, -1)
    return replace(ledger, planned=tuple(planned), hour_requests=hour, day_requests=day)


def is_on_time(feed: Feed, planned_at: datetime, now: datetime) -> bool:
    """Return True if a request planned for `planned_at` may go now; a little early is the clocks' doing."""
    late = LATE_MICROS if is_paced(feed) else LATE_UNPACED_MICROS
    return -_EARLY_MICROS <= to_moment(now) - to_moment(planned_at) <= late
