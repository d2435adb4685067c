"""Sliding windows: how many requests or bytes does a window hold, and from when on does it hold fewer?

A second is counted by the planned time of each request, an hour and a day in buckets, to keep ledgers small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.origin_budget.moments import LONG_AGO, SECOND_MICROS, Moment

_SLACK_MICROS = 5 * SECOND_MICROS
"""How much longer than an hour or a day these windows are, for requests that are sent late."""

Tally = tuple[tuple[int, int], ...]
"""Pairs of a bucket's number and the amount in it, oldest first. The number is the bucket's start over its width."""


@dataclass(frozen=True, slots=True)
class BucketedWindow:
    """A sliding window that counts amounts in buckets: each bucket is the sum of the amounts in `width_micros`.

    An amount leaves the window together with its whole bucket, after 5 s of slack: never too early, and at most a
    bucket's width and the slack too late.
    """

    length_micros: int
    width_micros: int
    """The width of a bucket."""

    def starts_at(self, bucket: int) -> Moment:
        """Return the moment at which the bucket with this number begins."""
        return Moment(bucket * self.width_micros)

    def leaves_at(self, bucket: int) -> Moment:
        """Return the moment at which the bucket with this number has left the window entirely."""
        return Moment((bucket + 1) * self.width_micros + self.length_micros + _SLACK_MICROS)

    def recent(self, tally: Tally, now: Moment) -> Tally:
        """Return the tally without the buckets that have left the window at `now`."""
        return tuple(counted for counted in tally if now < self.leaves_at(counted[0]))

    def added(self, tally: Tally, at: Moment, amount: int) -> Tally:
        """Return the tally with the amount added to the bucket of the moment `at`.

        A negative amount is subtracted. A bucket whose amount becomes 0 or less is left out.
        """
        amounts, bucket = dict(tally), at // self.width_micros
        amounts[bucket] = amounts.get(bucket, 0) + amount
        return tuple(sorted((bucket, counted) for bucket, counted in amounts.items() if counted > 0))

    def set_back(self, tally: Tally, micros: int) -> Tally:
        """Return the tally moved back in time by `micros` microseconds, rounded down to whole buckets."""
        return tuple((bucket - micros // self.width_micros, amount) for bucket, amount in tally)

    def below_limit_from(self, tally: Tally, limit: int) -> Moment:
        """Return the moment from which on the window holds less than `limit`, if nothing more is added to the tally.

        Return LONG_AGO if the window holds less now, or if the limit is 0, which means no limit.
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
    """Return the earliest moment, not before `at`, at which one more request can be sent within the limit.

    No period of `window_micros` microseconds may have more than `limit` requests; 0 means no limit. `planned` are the
    planned times of the other requests, in order; they may be before or after `at`.
    """
    if limit:
        for first, last in zip(planned, planned[limit - 1 :], strict=False):
            if last - first < window_micros and last - window_micros < at < first + window_micros:
                at = Moment(first + window_micros)
    return at
