"""How fast are a feed's photos finished, and when is a photo's turn? From the feed's limits and what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from shared.domain.feed import Feed
from shared.domain.priority import Priority

_MEASUREMENT_VALID_FOR = timedelta(minutes=10)
"""An older measurement says nothing of today's downloaders."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """A measurement: how many attempts of a feed ended a second, by the scheduler that released the photos."""

    at: datetime
    finished_per_second: float


def allowed_per_second(feed: Feed) -> float:
    """Return how many requests a second the feed's rate and its pauses between batches allow; infinite without both.

    Limits an hour and a day are left out, and so is the reserve for viewed photos.
    """
    by_pauses = feed.batch_size / feed.batch_pause_seconds if feed.batch_pause_seconds else inf
    return min(feed.requests_per_second or inf, by_pauses)


def sustained_per_second(feed: Feed) -> float:
    """Return how many requests a second a feed allows all day without its reserve; infinite without limits."""
    limits = (feed.requests_per_second, feed.requests_per_hour / 3_600, feed.requests_per_day / 86_400)
    share = 1.0 - feed.viewed_reserve
    return min(allowed_per_second(feed), *(limit * share or inf for limit in limits))


def expected_per_second(feed: Feed, measured: Throughput | None, now: datetime) -> float | None:
    """Return how many photos a second to expect: as measured within ten minutes, but at most what the limits sustain.

    Without such a measurement, what the limits sustain; None if there is no limit either.
    """
    allowed = sustained_per_second(feed)
    if measured and measured.finished_per_second > 0 and now - measured.at <= _MEASUREMENT_VALID_FOR:
        return min(measured.finished_per_second, allowed)
    return None if allowed == inf else allowed


def seconds_until_turn(ahead: int, per_second: float | None) -> float | None:
    """Return in how many seconds a photo has its turn that `ahead` photos are ahead of; None if the rate is unknown."""
    return ahead / per_second if per_second else None


def seconds_until_done(queued: Mapping[str, int], per_second: float | None) -> Mapping[Priority, float | None]:
    """Return in how many seconds the queue of each priority is empty; None for each if the rate is unknown.

    `queued` are the photos in the queue by priority; more urgent ones go first.
    """
    done, ahead = dict[Priority, float | None](), 0
    for priority in Priority:
        ahead += queued.get(priority, 0)
        done[priority] = seconds_until_turn(ahead, per_second)
    return done
