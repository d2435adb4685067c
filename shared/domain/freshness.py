"""Which of two statements of the MLS is newer? MLS time is compared with MLS time only, never with our own clock."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """An event's place on its topic: the broker's time, then partition and offset. Decides where times are equal."""

    at: datetime
    partition: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """How new a statement about a listing is."""

    modified_at: datetime | None
    media_changed_at: datetime | None
    position: Position | None


def is_newer(after: datetime | None, before: datetime | None) -> bool:
    """Whether `after` is newer than `before`; something known is newer than nothing."""
    return after is not None and (before is None or after > before)


def is_stale(said: Version, recorded: Version) -> bool:
    """Whether a statement is older than what is recorded, or the very same event again.

    It is old if neither of its timestamps is newer and one is older. With equal timestamps, or with none at all, the
    later one on the topic decides.
    """
    pairs = ((said.modified_at, recorded.modified_at), (said.media_changed_at, recorded.media_changed_at))
    if any(is_newer(ours, theirs) for ours, theirs in pairs):
        return False
    if any(ours is not None and is_newer(theirs, ours) for ours, theirs in pairs):
        return True
    return said.position is not None and recorded.position is not None and said.position <= recorded.position


def newest(*moments: datetime | None) -> datetime | None:
    """Return the newest of the moments that are known."""
    return max((moment for moment in moments if moment is not None), default=None)


def to_millisecond(moment: datetime) -> datetime:
    """Return the time cut to whole milliseconds, which is what MongoDB stores of it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def parse_timestamp(value: object) -> datetime | None:
    """Read a RESO timestamp; one without a zone is UTC. Null is None; anything else raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"a timestamp must be an ISO 8601 string, not {type(value).__name__}")  # noqa: TRY004
    moment = datetime.fromisoformat(value.strip().upper())  # RFC 3339 allows "t" and "z", Python does not
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a timestamp must lie between the years 1 and 9999") from None
