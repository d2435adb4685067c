"""What is left of a feed's budgets, and is it silenced? Read from the ledger that the downloaders share.

The ledger's fields and its rules are the downloader's (`services/downloader/budget.py`); a test writes ledgers by those
rules and reads them here, so that the two cannot drift apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import Any, cast

from shared.domain.feed import Feed
from shared.stores.budgets import Stored

TITLES = {
    "second": "requests a second",
    "hour": "requests an hour",
    "day": "requests a day",
    "bytes_hour": "bytes an hour",
}
"""What each window counts, in words."""

_SECOND = 1_000_000
_MINUTE, _QUARTER = 60 * _SECOND, 900 * _SECOND
_SLACK = 5 * _SECOND
"""The rules count an hour and a day this much longer."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One budget: what was used of it in the window that ends now. Routine work may not use the last `reserve`."""

    name: str
    limit: float
    used: int
    left: float
    left_for_routine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nothing is asked of the feed's origin. `until` is null while nobody can tell."""

    by: str
    """`operator`, `origin` (it asked for silence) or `breaker` (it is unwell, and probed)."""
    since: datetime | None
    until: datetime | None
    reason: str

    def in_words(self) -> str:
        """Say who or what silences the feed, until when and why."""
        until = f"until {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else "until it is thawed"
        who = {
            "operator": f"frozen by an operator {until}",
            "origin": f"frozen {until}",
            "breaker": "its breaker is open",
        }
        return who[self.by] + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """A feed's budgets at one moment; only windows with a limit are named."""

    at: datetime
    windows: Sequence[Window]
    running: int
    """Downloads that have a slot right now."""
    slots: int
    silences: Sequence[Silence]

    @property
    def silent_until(self) -> datetime | None:
        """When the origin may be asked again: `at` where nothing silences it, None while nobody can tell."""
        ends = [silence.until for silence in self.silences]
        return None if None in ends else max([self.at, *filter(None, ends)])

    @property
    def is_frozen(self) -> bool:
        """Whether an operator froze it."""
        return any(silence.by == "operator" for silence in self.silences)


def use(feed: Feed, stored: Stored) -> BudgetUse:
    """Read a stored ledger at the store's own time; one never written is unused. Pure."""
    ledger, now = cast("Mapping[str, Any]", stored.document), _micros(stored.now)
    second = ceil(_SECOND / min(feed.requests_per_second, 1.0)) if feed.requests_per_second else 0
    sent = sum(now - second < at <= now for at in ledger.get("sends", ()))
    windows = [
        _window("second", feed.requests_per_second, sent, feed),
        _window("hour", feed.requests_per_hour, _within(ledger.get("hour", ()), _MINUTE, 3_600, now), feed),
        _window("day", feed.requests_per_day, _within(ledger.get("day", ()), _QUARTER, 86_400, now), feed),
        _window("bytes_hour", feed.bytes_per_hour, _within(ledger.get("received", ()), _MINUTE, 3_600, now), feed),
    ]
    return BudgetUse(
        at=stored.now,
        windows=[window for window in windows if window.limit],
        running=sum(until > now for until in ledger.get("slots", {}).values()),
        slots=feed.concurrency,
        silences=_silences(ledger, now),
    )


def requests_by_minute(stored: Stored) -> Mapping[datetime, int]:
    """Return how many requests each minute had, of the last hour's minutes that had any. Pure."""
    ledger = cast("Mapping[str, Any]", stored.document)
    return {_datetime(bucket * _MINUTE): amount for bucket, amount in ledger.get("hour", ())}


def _window(name: str, limit: float, used: int, feed: Feed) -> Window:
    routine = floor(limit * (1 - feed.viewed_reserve) + 1e-9)
    return Window(
        name=name, limit=limit, used=used, left=max(0.0, limit - used), left_for_routine=max(0.0, float(routine - used))
    )


def _within(tally: Sequence[Sequence[int]], width: int, seconds: int, now: int) -> int:
    """Sum what lies in the window; a bucket counts until its very end has left."""
    return sum(amount for bucket, amount in tally if now < (bucket + 1) * width + seconds * _SECOND + _SLACK)


def _silences(ledger: Mapping[str, Any], now: int) -> list[Silence]:
    found = list[Silence]()
    if (halt := ledger.get("halt")) and (not halt["until"] or halt["until"] > now):
        until = _datetime(halt["until"]) if halt["until"] else None
        found.append(Silence(by="operator", since=_datetime(halt["since"]), until=until, reason=halt["reason"]))
    reason = ledger.get("reason", "")
    if (frozen_until := ledger.get("frozen_until", 0)) > now:
        found.append(Silence(by="origin", since=None, until=_datetime(frozen_until), reason=reason))
    if ledger.get("breaker"):
        found.append(Silence(by="breaker", since=None, until=None, reason=reason))
    return found


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _datetime(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
