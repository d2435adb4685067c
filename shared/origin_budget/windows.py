"""Sliding windows: how much does a period hold, and from when on does it hold less?

The planned time of each request of about the last second is known. An hour and a day are counted in buckets, which
keeps ledgers small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.origin_budget.moments import LONG_AGO, SECOND_MICROS, Moment

_SLACK_MICROS = 5 * SECOND_MICROS
"""An hour and a day are counted this much longer, for requests that are sent late."""

Tally = tuple[tuple[int, int], ...]
"""Pairs of a bucket's number and the amount in it, oldest first. The number is the bucket's begin over its width."""


@dataclass(frozen=True, slots=True)
class BucketedWindow:
    """A sliding window that is counted in buckets: an amount leaves it at most one bucket's width too late."""

    length_micros: int
    width_micros: int
    """The width of a bucket."""

    def starts_at(self, bucket: int) -> Moment:
        """Return the moment at which a bucket, given by its number, begins."""
        return Moment(bucket * self.width_micros)

    def leaves_at(self, bucket: int) -> Moment:
        """Return the moment at which the end of a bucket, given by its number, has left the window."""
        return Moment((bucket + 1) * self.width_micros + self.length_micros + _SLACK_MICROS)

    def recent(self, tally: Tally, now: Moment) -> Tally:
        """Return the buckets of a tally that have not left the window that ends `now`."""
        return tuple(counted for counted in tally if now < self.leaves_at(counted[0]))

    def added(self, tally: Tally, at: Moment, amount: int) -> Tally:
        """Return the tally with an amount added at a moment; a negative amount is taken away, at most down to zero."""
        amounts, bucket = dict(tally), at // self.width_micros
        amounts[bucket] = amounts.get(bucket, 0) + amount
        return tuple(sorted((bucket, counted) for bucket, counted in amounts.items() if counted > 0))

    def set_back(self, tally: Tally, micros: int) -> Tally:
        """Return the tally moved into the past by so many microseconds, rounded down to whole buckets."""
        return tuple((bucket - micros // self.width_micros, amount) for bucket, amount in tally)

    def below_limit_from(self, tally: Tally, limit: int) -> Moment:
        """Return the moment from which on the window holds less than `limit`, if nothing is added.

        LONG_AGO if it holds less now, or if the limit is 0, which is none.
        """
        total, at = sum(amount for _, amount in tally), LONG_AGO
        for bucket, amount in tally:
            if not limit or total < limit:
                break
            total, at = total - amount, self.leaves_at(bucket)
        return at


HOUR = BucketedWindow(3_600 * SECOND_MICROS, 60 * SECOND_MICROS)
DAY = BucketedWindow(86_400 * SECOND_MICROS, 900 * SECOND_MICROS)


def next_gap(planned: Sequence[Moment], at: Moment, limit: int, window_micros: int) -> Moment:
    """Return the earliest moment from `at` on at which one more request keeps each window within the limit.

    `planned` are the planned times of requests, in order; windows that begin before `at` and after it are kept. A
    limit of 0 is none.
    """
    if limit:
        for first, last in zip(planned, planned[limit - 1 :], strict=False):
            if last - first < window_micros and last - window_micros < at < first + window_micros:
                at = Moment(first + window_micros)
    return at
