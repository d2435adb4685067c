"""How fast does a feed's queue move, and when is a photo's turn? From what its rules let pass and what is measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from shared.domain.feed import Feed
from shared.domain.priority import Priority

_BELIEVED_FOR = timedelta(minutes=10)
"""A rate that was measured longer ago says nothing of today's downloaders."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """How many of a feed's photos were finished a second, as the scheduler last saw it."""

    at: datetime
    finished_per_second: float


def allowed_per_second(feed: Feed) -> float:
    """What the feed's rates allow in the long run of seconds, infinite without any; hours and days are left out."""
    pauses = feed.batch_size / feed.batch_pause_seconds if feed.batch_pause_seconds else inf
    return min(feed.requests_per_second or inf, pauses)


def sustained_per_second(feed: Feed) -> float:
    """What the feed's rates allow all day for photos that nobody waits for; infinite without any."""
    budgets = (feed.requests_per_second, feed.requests_per_hour / 3_600, feed.requests_per_day / 86_400)
    share = 1.0 - feed.viewed_reserve
    return min(allowed_per_second(feed), *(budget * share or inf for budget in budgets))


def expected_per_second(feed: Feed, measured: Throughput | None, now: datetime) -> float | None:
    """How many photos a second to expect: as measured of late, and no more than the rules allow. None: unknown."""
    allowed = sustained_per_second(feed)
    if measured and measured.finished_per_second > 0 and now - measured.at <= _BELIEVED_FOR:
        return min(measured.finished_per_second, allowed)
    return None if allowed == inf else allowed


def seconds_until_turn(ahead: int, per_second: float | None) -> float | None:
    """How long until so many photos are finished, and the next has its turn; None where the rate is unknown."""
    return ahead / per_second if per_second else None


def seconds_until_done(queued: Mapping[str, int], per_second: float | None) -> Mapping[Priority, float | None]:
    """How long until each priority's queue is empty: everything more urgent goes before it."""
    done, ahead = dict[Priority, float | None](), 0
    for priority in Priority:
        ahead += queued.get(priority, 0)
        done[priority] = seconds_until_turn(ahead, per_second)
    return done
