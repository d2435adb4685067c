"""How much of its budget does a feed use, and is it suspended? Summarizes a ledger for operators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import floor

from shared.domain.feed import Feed
from shared.origin_budget import suspension
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import second_micros
from shared.origin_budget.moments import Moment, to_datetime, to_moment
from shared.origin_budget.windows import DAY, HOUR, BucketedWindow, Tally

TITLES = {
    "second": "requests a second",
    "hour": "requests an hour",
    "day": "requests a day",
    "bytes_hour": "bytes an hour",
}
"""The title of each window by its name: what the window's limit counts."""


class SuspendedBy(StrEnum):
    """What suspends a feed: an operator's pause, a throttling by the origin, or the breaker.

    The values are those of the key `by` in the output of `--json`.
    """

    OPERATOR = "operator"
    ORIGIN = "origin"
    BREAKER = "breaker"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowUse:
    """A limit of a feed for a window, and how much of the limit the window that ends now has used."""

    name: str
    """A key of `TITLES`."""
    limit: float
    used: int
    remaining: float
    remaining_for_routine: float
    """How much photos that are not viewed may still use: `remaining` without the reserve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Why a feed gets no request now: a throttling, an open breaker or a pause."""

    by: SuspendedBy
    since: datetime | None
    """When the suspension began; None if the ledger does not say."""
    until: datetime | None
    """When the suspension ends; None if that is not known."""
    reason: str
    """Why the feed is suspended, in words for operators; may be empty."""

    def in_words(self) -> str:
        """Return a phrase for operators: what suspends the feed, until when and why."""
        until = f"until {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else "until it is thawed"
        who = {
            SuspendedBy.OPERATOR: f"frozen by an operator {until}",
            SuspendedBy.ORIGIN: f"frozen {until}",
            SuspendedBy.BREAKER: "its breaker is open",
        }
        return who[self.by] + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """How much of its budget a feed uses, and its suspensions, at the time `at`."""

    at: datetime
    windows: Sequence[WindowUse]
    """The windows for which the feed has a limit, in the order of `TITLES`."""
    running: int
    """How many downloads have a slot now."""
    slots: int
    """How many downloads may have a slot."""
    suspensions: Sequence[Suspension]

    @property
    def suspended_until(self) -> datetime | None:
        """When the last of the feed's suspensions ends; `at` if there are none, None if an end is not known."""
        ends = [suspension.until for suspension in self.suspensions]
        return None if None in ends else max([self.at, *filter(None, ends)])

    @property
    def is_paused(self) -> bool:
        """True if the feed is paused by an operator at the time `at`."""
        return any(suspension.by is SuspendedBy.OPERATOR for suspension in self.suspensions)


def of_ledger(feed: Feed, ledger: Ledger, now: datetime) -> BudgetUse:
    """Return how much of its budget the feed uses, and what suspends it, from its ledger.

    `ledger` is the feed's ledger as it was read from the store, and `now` the store's time when it was read.
    """
    moment = to_moment(now)
    windows = [
        _window("second", feed.requests_per_second, _of_last_second(feed, ledger, moment), feed),
        _window("hour", feed.requests_per_hour, _used(HOUR, ledger.hour_requests, moment), feed),
        _window("day", feed.requests_per_day, _used(DAY, ledger.day_requests, moment), feed),
        _window("bytes_hour", feed.bytes_per_hour, _used(HOUR, ledger.hour_bytes, moment), feed),
    ]
    return BudgetUse(
        at=now,
        windows=[window for window in windows if window.limit],
        running=sum(expires_at > moment for expires_at in ledger.slots.values()),
        slots=feed.concurrency,
        suspensions=_suspensions(ledger, moment),
    )


def requests_by_minute(ledger: Ledger) -> Mapping[datetime, int]:
    """Return how many requests of a feed its ledger counts in each minute of its last hour, by the minute's start.

    A request counts in the minute of its planned time, which may be in the future. A minute without requests is left
    out.
    """
    return {to_datetime(HOUR.starts_at(bucket)): amount for bucket, amount in ledger.hour_requests}


def to_json(use: BudgetUse) -> Mapping[str, object]:
    """Return the use of a feed's budget as the object that `--json` prints; its keys never change.

    Times in it are datetimes, which the caller must turn into text.
    """
    return {
        "at": use.at,
        "windows": [
            {
                "name": window.name,
                "limit": window.limit,
                "used": window.used,
                "left": window.remaining,
                "left_for_routine": window.remaining_for_routine,
            }
            for window in use.windows
        ],
        "running": use.running,
        "slots": use.slots,
        "silences": suspensions_to_json(use),
    }


def suspensions_to_json(use: BudgetUse) -> Sequence[Mapping[str, object]]:
    """Return the suspensions of a feed as the list that `--json` prints; empty if the feed is not suspended.

    Each entry has the keys `by`, `since`, `until` and `reason`, which never change. Times are datetimes, which the
    caller must turn into text.
    """
    return [
        {"by": found.by, "since": found.since, "until": found.until, "reason": found.reason}
        for found in use.suspensions
    ]


def _window(name: str, limit: float, used: int, feed: Feed) -> WindowUse:
    routine = floor(limit * (1 - feed.viewed_reserve) + 1e-9)
    return WindowUse(
        name=name,
        limit=limit,
        used=used,
        remaining=max(0.0, limit - used),
        remaining_for_routine=max(0.0, float(routine - used)),
    )


def _of_last_second(feed: Feed, ledger: Ledger, now: Moment) -> int:
    """Return how many requests were planned in the window of the feed's rate that ends at `now`; 0 without a rate.

    The window is a second long, or longer at a rate below one a second.
    """
    length = second_micros(feed.requests_per_second) if feed.requests_per_second else 0
    return sum(now - length < at <= now for at in ledger.planned)


def _used(window: BucketedWindow, tally: Tally, now: Moment) -> int:
    return sum(amount for _, amount in window.recent(tally, now))


def _suspensions(ledger: Ledger, now: Moment) -> list[Suspension]:
    found = list[Suspension]()
    if (pause := ledger.pause) and suspension.is_paused(ledger, now):
        until = to_datetime(pause.until) if pause.until else None
        found.append(
            Suspension(by=SuspendedBy.OPERATOR, since=to_datetime(pause.since), until=until, reason=pause.reason)
        )
    if ledger.throttled_until > now:
        until = to_datetime(ledger.throttled_until)
        found.append(Suspension(by=SuspendedBy.ORIGIN, since=None, until=until, reason=ledger.reason))
    if ledger.breaker:
        found.append(Suspension(by=SuspendedBy.BREAKER, since=None, until=None, reason=ledger.reason))
    return found
