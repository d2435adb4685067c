"""Which of two announcements is newer? MLS times are compared with MLS times only, never with our own clock."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

_KEPT_FOR = timedelta(days=30)
"""How long `listing-seen` is kept: a position with an earlier time was made by a producer without a clock."""
_CLOCK_STEP = timedelta(seconds=5)
"""How far a broker's clock may go back. A lower offset with a later time than this is of a topic that was made anew."""
MAX_AHEAD = timedelta(days=1)
"""A timestamp further than this ahead of our clock is wrong, and is treated as missing."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The place of an event on its topic: the broker's time (`at`), the partition and the offset.

    Positions sort by time first, so they can be compared across partitions.
    """

    at: datetime
    partition: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What tells which of two announcements of a listing is newer. A field is None if the announcement lacks it."""

    modified_at: datetime | None
    """The MLS's timestamp of the listing."""
    media_changed_at: datetime | None
    """The MLS's timestamp of the listing's photos."""
    position: Position | None
    """The place of the announcement's event on the topic."""


def is_newer(after: datetime | None, before: datetime | None) -> bool:
    """Return True if the time `after` is later than the time `before`.

    Every time is later than None, and None is never later: return False if `after` is None.
    """
    return after is not None and (before is None or after > before)


def is_credible(time: datetime | None, now: datetime) -> bool:
    """Return True if the timestamp is at most a day (`MAX_AHEAD`) ahead of `now`, or is None."""
    return time is None or time <= now + MAX_AHEAD


def credible(version: Version, now: datetime) -> Version:
    """Return the version with None in place of timestamps more than a day (`MAX_AHEAD`) ahead of `now`."""
    if is_credible(version.modified_at, now) and is_credible(version.media_changed_at, now):
        return version
    return replace(
        version,
        modified_at=version.modified_at if is_credible(version.modified_at, now) else None,
        media_changed_at=version.media_changed_at if is_credible(version.media_changed_at, now) else None,
    )


def seen_at(version: Version, now: datetime) -> datetime:
    """Return when an announcement reached its topic, by the broker's clock; `now` if that is not known.

    A replay of the announcement gets the same time as its first reading. So a timestamp that was too far ahead at the
    first reading is too far ahead at the replay as well.
    """
    at = version.position.at if version.position else now
    return at if now - _KEPT_FOR <= at <= now else now


def is_stale(announced: Version, recorded: Version, now: datetime, *, hides: bool = False) -> bool:
    """Return True if an announcement must be ignored: its version is older than the recorded one, or of the same event.

    The timestamps that `announced` has are compared with those of `recorded`. If one of them is later, the result is
    False; otherwise, if one is earlier, it is True. If all are equal, the positions decide: the result is True if the
    position of `announced` is earlier or the same, and False if either position is None.

    Timestamps more than a day ahead of `now` count as missing. If `recorded` has such a timestamp, only the positions
    decide, and the result is False if the announcement hides its listing (`hides`).
    """
    announced, trusted = credible(announced, seen_at(announced, now)), credible(recorded, now)
    is_earlier = _is_earlier(announced.position, recorded.position)
    if trusted is not recorded:
        return is_earlier and not hides
    pairs = (
        (announced.modified_at, recorded.modified_at),
        (announced.media_changed_at, recorded.media_changed_at),
    )
    if any(is_newer(ours, theirs) for ours, theirs in pairs):
        return False
    return is_earlier or any(ours is not None and is_newer(theirs, ours) for ours, theirs in pairs)


def _is_earlier(announced: Position | None, recorded: Position | None) -> bool:
    """Return True if the event at `announced` was published before the event at `recorded`, or is the same event.

    Return False if a position is None. In one partition the offsets decide, because the clocks of brokers and producers
    may be wrong.
    """
    if announced is None or recorded is None:
        return False
    if announced.partition != recorded.partition:
        return announced <= recorded
    return announced.offset <= recorded.offset and announced.at <= recorded.at + _CLOCK_STEP


def newest(*times: datetime | None) -> datetime | None:
    """Return the latest of the given times; None if all are None."""
    return max((time for time in times if time is not None), default=None)


def to_millisecond(time: datetime) -> datetime:
    """Return the time rounded down to whole milliseconds, as MongoDB stores times."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def parse_timestamp(value: object) -> datetime | None:
    """Parse a RESO timestamp and return the time in UTC; None if `value` is None.

    A timestamp without a zone counts as UTC. Raises ValueError if the value is anything else than an ISO 8601 string
    within the years 1 to 9999.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"a timestamp must be an ISO 8601 string, not {type(value).__name__}")  # noqa: TRY004
    time = datetime.fromisoformat(value.strip().upper())  # RFC 3339 allows "t" and "z", Python does not
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError("a timestamp must lie between the years 1 and 9999") from None
