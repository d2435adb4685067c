"""How fast are a feed's photos finished, and when is a photo's turn? Estimates by the limits and the measured rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from shared.domain.feed import Feed
from shared.domain.priority import Priority

_MEASUREMENT_VALID_FOR = timedelta(minutes=10)
"""An older measurement says nothing about the downloaders that run now."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """How many attempts of a feed's photos end in a second, as the feed's scheduler measured it."""

    at: datetime
    """When the throughput was measured."""
    finished_per_second: float


def allowed_per_second(feed: Feed) -> float:
    """Return how many requests a second a feed's rate and pauses between batches allow; infinity if it has neither.

    The limits of an hour and of a day are not considered, and neither is the reserve for viewed photos.
    """
    by_pauses = feed.batch_size / feed.batch_pause_seconds if feed.batch_pause_seconds else inf
    return min(feed.requests_per_second or inf, by_pauses)


def sustained_per_second(feed: Feed) -> float:
    """Return how many requests a second all limits of a feed allow, averaged over a day; infinity without limits.

    Only the part of each limit that photos other than viewed ones may use is counted.
    """
    limits = (feed.requests_per_second, feed.requests_per_hour / 3_600, feed.requests_per_day / 86_400)
    share = 1.0 - feed.viewed_reserve
    return min(allowed_per_second(feed), *(limit * share or inf for limit in limits))


def expected_per_second(feed: Feed, measured: Throughput | None, now: datetime) -> float | None:
    """Return how many of the feed's photos will probably be finished in a second; None if no estimate is possible.

    `measured` is the feed's last measured throughput, None if there is none. If it is above 0 and at most ten minutes
    old at `now`, it is returned, but not more than `sustained_per_second`. Otherwise `sustained_per_second` is
    returned, or None if the feed has no limits.
    """
    allowed = sustained_per_second(feed)
    if measured and measured.finished_per_second > 0 and now - measured.at <= _MEASUREMENT_VALID_FOR:
        return min(measured.finished_per_second, allowed)
    return None if allowed == inf else allowed


def seconds_until_turn(ahead: int, per_second: float | None) -> float | None:
    """Return in how many seconds a photo is attempted if `ahead` photos come before it in the queue.

    `per_second` is how many photos are finished in a second. Return None if it is None or 0.
    """
    return ahead / per_second if per_second else None


def seconds_until_done(queued: Mapping[str, int], per_second: float | None) -> Mapping[Priority, float | None]:
    """Return, for each priority, in how many seconds all its queued photos are finished.

    `queued` is the number of photos in a feed's queue by the name of their priority; a missing priority has none. More
    urgent photos are finished first. `per_second` is how many photos are finished in a second; if it is None or 0, all
    values of the result are None.
    """
    done, ahead = dict[Priority, float | None](), 0
    for priority in Priority:
        ahead += queued.get(priority, 0)
        done[priority] = seconds_until_turn(ahead, per_second)
    return done
