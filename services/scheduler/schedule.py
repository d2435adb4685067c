"""The times of the daily sweep: once in every day of the feed's time zone, also when the clocks change. No I/O."""

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.domain.feed import Feed


def start_of(feed: Feed, day: date) -> datetime:
    """Return the time, in UTC, at which the daily sweep of a feed starts on `day`, a day in the feed's time zone.

    If the clocks skip the local time of the start, the sweep starts as if the clocks had not changed (02:00 becomes
    03:00 of summer time). If the local time comes twice on that day, the sweep starts at the first.
    """
    local = datetime.combine(day, time.fromisoformat(feed.sweep_at), ZoneInfo(feed.time_zone))
    return local.astimezone(UTC)


def last_start(feed: Feed, now: datetime) -> datetime:
    """Return the time, in UTC, of the newest start of a feed's daily sweep, at `now` or earlier."""
    today = now.astimezone(ZoneInfo(feed.time_zone)).date()
    starts = [start_of(feed, today - timedelta(days=days)) for days in (0, 1, 2)]
    return next(start for start in starts if start <= now)


def due_start(feed: Feed, swept: datetime | None, now: datetime) -> datetime | None:
    """Return the start, in UTC, of the feed's daily sweep that is due at `now`; None if the newest sweep is finished.

    `swept` is the start of the last finished sweep, None for a feed that was never swept. If several sweeps were
    missed, only the newest is due.
    """
    start = last_start(feed, now)
    return start if swept is None or swept < start else None


def slot(feed: Feed, listing_key: str, start: datetime) -> datetime:
    """Return the time at which a listing has its turn in the daily sweep that begins at `start`.

    The time is `start` or up to the feed's `sweep_hours` later. How much later depends on a hash of the ListingKey
    only: so it is the same in every sweep, and the listings of a feed are spread evenly.
    """
    share = int.from_bytes(hashlib.sha256(listing_key.encode()).digest()[:6]) / 2**48
    return start + timedelta(hours=feed.sweep_hours * share)
