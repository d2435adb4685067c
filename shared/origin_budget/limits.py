"""What does a feed allow one priority? Its limits of `feeds.toml` as shares, and the batches that use them best."""

from dataclasses import dataclass, replace
from math import ceil, floor

from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.moments import SECOND_MICROS, to_micros

LATE_MICROS = 40_000
"""A paced request that missed its planned time by more is not sent but planned again."""
LATE_UNPACED_MICROS = 2 * SECOND_MICROS
"""The same for a feed whose requests are counted an hour and a day only: these windows have a slack."""
_MARGIN_MICROS = 2 * LATE_MICROS
"""A second is counted as 1.08 s: a request may be late, and the network and the clocks have as much again."""

_HORIZON_MICROS = SECOND_MICROS
"""No routine request is planned further ahead: a worker that crashes wastes no more, and a pause undoes little."""
_HORIZON_SLOW_MICROS = 100_000
"""The same where a window holds one request: a viewed photo's request is planned behind what is planned already."""
HORIZON_VIEWED_MICROS = 5 * SECOND_MICROS
"""No request of a viewed photo is planned further ahead."""
MAX_PAUSE_VIEWED_SECONDS = 1.0
"""Requests of viewed photos ignore a longer pause between batches: the contract serves them within 3 s."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A feed's limits as they hold for one priority; 0 is no limit."""

    downloads: int
    """How many downloads may run at a time."""
    requests_per_window: int
    """How many requests any window of `window_micros` may hold."""
    window_micros: int
    """The length of that window: a second or, at a lower rate, as long as one request takes, and a margin."""
    requests_per_hour: int
    requests_per_day: int
    bytes_per_hour: int
    horizon_micros: int
    """How far ahead a request may be planned."""
    batch_size: int = 0
    """How many requests lie between two pauses; 0: there are no batches."""
    step_micros: int = 0
    """The least time between two requests of a batch."""
    pause_micros: int = 0
    """The least time between the last request of a batch and the first of the next."""


def limits_of(feed: Feed, priority: Priority) -> Limits:
    """Return a feed's limits for one priority.

    Viewed photos may use all of each limit; other priorities leave the reserve. Viewed photos ignore a long pause
    between batches.
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
    """Return how many microseconds the rate counts over: a second or, at a lower rate, as long as one request takes."""
    return ceil(SECOND_MICROS / min(requests_per_second, 1.0))


def is_paced(feed: Feed) -> bool:
    """Return True if the feed limits requests a second or pauses between batches, so that planned times are exact."""
    return bool(feed.requests_per_second or feed.batch_pause_seconds)


def _share_of(limit: int, share: float) -> int:
    """Return one priority's share of a limit, at least 1: routine photos would never be fetched at a limit of 1."""
    return max(1, floor(limit * share + 1e-9)) if limit else 0


def _with_short_pause(limits: Limits, feed: Feed) -> Limits:
    """Return the limits with the feed's batches and pause if the pause is short enough for viewed photos."""
    if not 0 < feed.batch_pause_seconds <= MAX_PAUSE_VIEWED_SECONDS:
        return limits
    return replace(limits, batch_size=feed.batch_size, pause_micros=_pause_micros(feed))


def _with_best_batches(limits: Limits, feed: Feed) -> Limits:
    """Return the limits with the batch size, at most the feed's, and the step in a batch that use the rate best.

    In a flow of such batches, a request and the one `requests_per_window` later must be a window apart. If the pause is
    shorter than the even distance of requests at the full rate, or there is none, all distances are even.
    """
    pause = _pause_micros(feed)
    # As many rounds of all slots as fit: a round that is not full would make the slots wait for the pause.
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
    """Return the pause between batches, and how late a request may be on top of it; 0 if the feed has no pause."""
    return to_micros(feed.batch_pause_seconds) + LATE_MICROS if feed.batch_pause_seconds else 0
