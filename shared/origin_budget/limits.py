"""What does a feed allow for one priority? Shares of its limits in `feeds.toml`, and batches that use its rate best."""

from dataclasses import dataclass, replace
from math import ceil, floor

from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.moments import SECOND_MICROS, to_micros

LATE_MICROS = 40_000
"""How late after its planned time a paced request may be sent; a later request is planned again."""
LATE_UNPACED_MICROS = 2 * SECOND_MICROS
"""How late a request may be sent for a feed that is not paced: only its windows of an hour and a day count, which have
a slack."""
_MARGIN_MICROS = 2 * LATE_MICROS
"""How much longer than a second the window of the rate is: a request may be sent late by half of this, and the other
half is for the network and the clocks."""

_HORIZON_MICROS = SECOND_MICROS
"""How far ahead requests of photos that are not viewed are planned at most: a crash or a pause wastes planned ones."""
_HORIZON_SLOW_MICROS = 100_000
"""The same at a rate of one request in a window: there a viewed photo must wait for every request planned already."""
HORIZON_VIEWED_MICROS = 5 * SECOND_MICROS
"""How far ahead the requests of viewed photos are planned at most."""
MAX_PAUSE_VIEWED_SECONDS = 1.0
"""Requests of viewed photos ignore a longer pause between batches: the contract serves them within 3 s."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A feed's limits for one priority; 0 means no limit."""

    downloads: int
    """How many downloads may run at a time."""
    requests_per_window: int
    """How many requests any window of `window_micros` may hold."""
    window_micros: int
    """The length of the window: a second, or at a rate below one a second the time for one request, and a margin."""
    requests_per_hour: int
    requests_per_day: int
    bytes_per_hour: int
    horizon_micros: int
    """How far ahead a request may be planned."""
    batch_size: int = 0
    """How many requests lie between two pauses; 0 if there are no batches."""
    step_micros: int = 0
    """The least time between two requests of a batch."""
    pause_micros: int = 0
    """The least time between the last request of a batch and the first of the next."""


def limits_of(feed: Feed, priority: Priority) -> Limits:
    """Return a feed's limits for the photos of one priority.

    Viewed photos may use all of each limit; other priorities leave the reserve unused. Viewed photos ignore a pause
    between batches that is longer than `MAX_PAUSE_VIEWED_SECONDS`.
    """
    is_viewed = priority is Priority.VIEWED
    share = 1.0 if is_viewed else 1.0 - feed.viewed_reserve
    rate = feed.requests_per_second
    requests_per_window = _share_of(max(1, floor(rate)), share) if rate else 0
    horizon_micros = _HORIZON_SLOW_MICROS if requests_per_window == 1 else _HORIZON_MICROS
    limits = Limits(
        downloads=_share_of(feed.concurrency, share),
        requests_per_window=requests_per_window,
        window_micros=second_micros(rate) + _MARGIN_MICROS if rate else 0,
        requests_per_hour=_share_of(feed.requests_per_hour, share),
        requests_per_day=_share_of(feed.requests_per_day, share),
        bytes_per_hour=_share_of(feed.bytes_per_hour, share),
        horizon_micros=HORIZON_VIEWED_MICROS if is_viewed else horizon_micros,
    )
    return _with_short_pause(limits, feed) if is_viewed else _with_best_batches(limits, feed)


def second_micros(requests_per_second: float) -> int:
    """Return the length in microseconds of the window in which the requests of a rate are counted.

    `requests_per_second` is the rate, above 0. The window is a second long. At a rate below one a second, it is the
    time in which the rate allows one request.
    """
    return ceil(SECOND_MICROS / min(requests_per_second, 1.0))


def is_paced(feed: Feed) -> bool:
    """Return True if the feed has a limit of requests a second, or a pause between batches.

    The requests of a paced feed must be sent close to their planned times; `pacing.is_on_time` says how close.
    """
    return bool(feed.requests_per_second or feed.batch_pause_seconds)


def _share_of(limit: int, share: float) -> int:
    """Return the part of a limit that one priority may use: `limit` times `share` (0 to 1), rounded down.

    The result is at least 1, so that a limit of 1 does not exclude routine photos. A limit of 0, which means no limit,
    stays 0.
    """
    return max(1, floor(limit * share + 1e-9)) if limit else 0


def _with_short_pause(limits: Limits, feed: Feed) -> Limits:
    """Return the limits for viewed photos, with the feed's batches and its pause between them if the pause is short.

    If the feed has no pause, or a pause longer than `MAX_PAUSE_VIEWED_SECONDS`, `limits` is returned unchanged: viewed
    photos then ignore batches and pause.
    """
    if not 0 < feed.batch_pause_seconds <= MAX_PAUSE_VIEWED_SECONDS:
        return limits
    return replace(limits, batch_size=feed.batch_size, pause_micros=_pause_micros(feed))


def _with_best_batches(limits: Limits, feed: Feed) -> Limits:
    """Return the limits with the batch size, and the time between two requests of a batch, that use the rate best.

    The batch size is at most the feed's. `step_micros`, the time between two requests of a batch, is the shortest with
    which no window ever has more than `requests_per_window` requests; it is 0 without a rate. All requests are spread
    evenly if the feed has no pause, or a pause not longer than the time between evenly spread requests at the full
    rate.
    """
    pause = _pause_micros(feed)
    # If larger than the number of slots, a multiple of it: else some slots would stay empty until the pause is over.
    largest = feed.batch_size - feed.batch_size % min(feed.batch_size, limits.downloads)
    if not limits.requests_per_window:
        return replace(limits, batch_size=largest, pause_micros=pause)
    even = ceil(limits.window_micros / limits.requests_per_window)
    if pause <= even:
        return replace(limits, batch_size=largest, step_micros=even, pause_micros=even)
    best, fastest = limits, 0.0
    for size in range(1, largest + 1):
        whole, rest = divmod(limits.requests_per_window, size)
        step = ceil(max(0, limits.window_micros - whole * pause) / max(1, whole * (size - 1) + rest))
        cycle = max((size - 1) * step + pause, size * even)
        if step <= pause and size / cycle >= fastest:
            best, fastest = replace(limits, batch_size=size, step_micros=step, pause_micros=pause), size / cycle
    return best


def _pause_micros(feed: Feed) -> int:
    """Return the feed's pause between batches in microseconds; 0 if it has none.

    The time by which a request may be late is added, so that the pause is long enough even after a late request.
    """
    return to_micros(feed.batch_pause_seconds) + LATE_MICROS if feed.batch_pause_seconds else 0
