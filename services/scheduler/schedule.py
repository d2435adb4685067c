"""When does the daily sweep run? Once for every local day, whatever daylight saving does to its hour. Pure."""

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.domain.feed import Feed


def start_of(feed: Feed, day: date) -> datetime:
    """Return when the feed's sweep of a local day starts, in UTC.

    A local time that the clocks skip is taken as if they had not been changed (02:00 becomes 03:00 of summer time); of
    a local time that comes twice, the first is taken.
    """
    local = datetime.combine(day, time.fromisoformat(feed.sweep_at), ZoneInfo(feed.time_zone))
    return local.astimezone(UTC)


def last_start(feed: Feed, now: datetime) -> datetime:
    """Return the newest start of the feed's daily sweep that is not after `now`, in UTC."""
    today = now.astimezone(ZoneInfo(feed.time_zone)).date()
    starts = [start_of(feed, today - timedelta(days=days)) for days in (0, 1, 2)]
    return next(start for start in starts if start <= now)


def due_start(feed: Feed, swept: datetime | None, now: datetime) -> datetime | None:
    """Return the start of the daily sweep that is due at `now`, or None if the newest one is finished.

    `swept` is the start of the last sweep that was finished, None for a feed that was never swept. Of several sweeps
    that were missed only the newest is due.
    """
    start = last_start(feed, now)
    return start if swept is None or swept < start else None


def slot(feed: Feed, listing_key: str, start: datetime) -> datetime:
    """Return a listing's own time within the `sweep_hours` of a sweep that starts at `start`.

    The time depends on a hash of the ListingKey: it is at the same distance from the start in every sweep, and the
    listings of a feed are spread evenly.
    """
    share = int.from_bytes(hashlib.sha256(listing_key.encode()).digest()[:6]) / 2**48
    return start + timedelta(hours=feed.sweep_hours * share)
