"""When does the daily sweep run? Once for every local day, whatever daylight saving does to its hour. Pure."""

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.domain.feed import Feed


def start_of(feed: Feed, day: date) -> datetime:
    """Return when the sweep of a local day starts, in UTC.

    A time that the clocks skip is as late as if they had not been changed (02:00 becomes 03:00 of summer time); of a
    time that comes twice it is the first.
    """
    local = datetime.combine(day, time.fromisoformat(feed.sweep_at), ZoneInfo(feed.time_zone))
    return local.astimezone(UTC)


def last_start(feed: Feed, now: datetime) -> datetime:
    """Return the newest start of a sweep that is not after now."""
    today = now.astimezone(ZoneInfo(feed.time_zone)).date()
    starts = [start_of(feed, today - timedelta(days=days)) for days in (0, 1, 2)]
    return next(start for start in starts if start <= now)


def owed(feed: Feed, swept: datetime | None, now: datetime) -> datetime | None:
    """Return the start of the sweep that is owed, or None. `swept` is the start of the last one that was finished.

    However many were missed, the newest is owed alone; a feed that was never swept owes one.
    """
    start = last_start(feed, now)
    return start if swept is None or swept < start else None


def slot(feed: Feed, listing_key: str, start: datetime) -> datetime:
    """Return a listing's own moment in the hours of a sweep: the same every day, evenly spread by its key's hash."""
    share = int.from_bytes(hashlib.sha256(listing_key.encode()).digest()[:6]) / 2**48
    return start + timedelta(hours=feed.sweep_hours * share)
