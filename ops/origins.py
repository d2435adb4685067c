"""How does a feed's origin stand? What all workers together have asked of it, and whether it is silent, and why.

Read from the ledger that the downloaders keep (`services/downloader/budget.py`); its times are microseconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One feed's origin at a moment. `by_minute` holds the minutes of the last hour in which something was asked."""

    is_halted: bool
    """An operator froze it; it stays so until it is thawed, or until `silent_until`."""
    silent_until: datetime | None
    """Until when nothing is asked; null where it may be asked, or where an operator named no end."""
    is_probed: bool
    """Too many failures of one kind in a row: one request at a time tests it."""
    reason: str
    by_minute: Mapping[datetime, int]
    day: int
    received: int
    """Bytes of the last hour; counted only where the feed limits them."""
    running: int

    @property
    def hour(self) -> int:
        """How many requests the last hour had."""
        return sum(self.by_minute.values())

    @property
    def is_open(self) -> bool:
        """Whether it may be asked as usual."""
        return not self.is_halted and self.silent_until is None and not self.is_probed


def read(ledger: Mapping[str, Any], now: datetime) -> Origin:
    """Read a stored ledger. Pure."""
    halt, breaker = ledger.get("halt") or {}, ledger.get("breaker")
    is_halted = bool(halt) and (not halt["until"] or _moment(halt["until"]) > now)
    frozen_until = _moment(ledger.get("frozen_until", 0))
    silent_until = frozen_until if frozen_until > now else None
    reason = ledger.get("reason", "") if silent_until or breaker else ""
    if is_halted:
        silent_until, reason = (_moment(halt["until"]) if halt["until"] else None), halt["reason"]
    hour = timedelta(hours=1)
    return Origin(
        is_halted=is_halted,
        silent_until=silent_until,
        is_probed=bool(breaker),
        reason=reason,
        by_minute=_recent(ledger.get("hour", ()), _MINUTE, now - hour),
        day=sum(_recent(ledger.get("day", ()), _QUARTER, now - 24 * hour).values()),
        received=sum(_recent(ledger.get("received", ()), _MINUTE, now - hour).values()),
        running=sum(_moment(until) > now for until in ledger.get("slots", {}).values()),
    )


def _recent(tally: Any, width: timedelta, since: datetime) -> dict[datetime, int]:
    """Return (number of the bucket, amount) pairs by the time at which their bucket began, those that began since."""
    amounts = {_EPOCH + bucket * width: amount for bucket, amount in tally}
    return {began: amount for began, amount in amounts.items() if began >= since}


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
