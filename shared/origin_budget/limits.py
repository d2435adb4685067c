"""What does a feed allow one priority? Its numbers of `feeds.toml` as shares, and the batches that use them best."""

from dataclasses import dataclass, replace
from math import ceil, floor

from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.moments import SECOND_MICROS, to_micros

LATE_MICROS = 40_000
"""A paced request that missed its planned time by more is not sent but planned anew."""
LATE_UNPACED_MICROS = 2 * SECOND_MICROS
"""The same where only hours and days are counted, for these windows have a slack."""
_MARGIN_MICROS = 2 * LATE_MICROS
"""A second is counted as 1.08 s: one request may be late, the network and the clocks have as much again."""

_HORIZON_MICROS = SECOND_MICROS
"""No routine request is planned further ahead: a crashed worker wastes at most that, and a pause undoes little."""
_HORIZON_SLOW_MICROS = 100_000
"""The same where a window holds one request: a person's request is planned behind what was planned before it."""
HORIZON_VIEWED_MICROS = 5 * SECOND_MICROS
"""No viewed request is planned further ahead."""
MAX_PAUSE_VIEWED_SECONDS = 1.0
"""A longer pause between batches is not heeded for a viewed image: the contract serves one within 3 s."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A feed's numbers as they hold for one priority; 0 is no limit, and durations are in microseconds."""

    downloads: int
    """Downloads at a time."""
    per_window: int
    """Requests in each window of `window` microseconds, about a second."""
    window: int
    hour: int
    """Requests an hour."""
    day: int
    """Requests a day."""
    received: int
    """Bytes an hour."""
    horizon: int
    """How far ahead a request may be planned."""
    batch: int = 0
    """Requests between two pauses."""
    step: int = 0
    """The least distance of two requests of a batch."""
    pause: int = 0
    """The least distance of two batches."""


def limits_of(feed: Feed, priority: Priority) -> Limits:
    """Return a feed's limits for one priority.

    Only viewed images may use all of each limit, and need not heed a long pause between batches; the others leave the
    reserve.
    """
    is_viewed = priority is Priority.VIEWED
    share = 1.0 if is_viewed else 1.0 - feed.viewed_reserve
    rate = feed.requests_per_second
    per_window = _share_of(max(1, floor(rate)), share) if rate else 0
    slow = _HORIZON_SLOW_MICROS if per_window == 1 else _HORIZON_MICROS
    limits = Limits(
        downloads=_share_of(feed.concurrency, share),
        per_window=per_window,
        window=second_micros(rate) + _MARGIN_MICROS if rate else 0,
        hour=_share_of(feed.requests_per_hour, share),
        day=_share_of(feed.requests_per_day, share),
        received=_share_of(feed.bytes_per_hour, share),
        horizon=HORIZON_VIEWED_MICROS if is_viewed else slow,
    )
    return _with_short_pause(limits, feed) if is_viewed else _in_batches(limits, feed)


def second_micros(requests_per_second: float) -> int:
    """Return the length of the window that the rate counts over: a second, or as long as one request takes."""
    return ceil(SECOND_MICROS / min(requests_per_second, 1.0))


def is_paced(feed: Feed) -> bool:
    """Return True if the feed has a rate a second or pauses, and its requests planned times to keep."""
    return bool(feed.requests_per_second or feed.batch_pause_seconds)


def _share_of(limit: int, share: float) -> int:
    """Return one priority's share of a limit, never nothing: routine work would starve behind a limit of one."""
    return max(1, floor(limit * share + 1e-9)) if limit else 0


def _with_short_pause(limits: Limits, feed: Feed) -> Limits:
    """Return the limits with the feed's batches and pause, where the pause is short enough for a viewed image."""
    if not 0 < feed.batch_pause_seconds <= MAX_PAUSE_VIEWED_SECONDS:
        return limits
    return replace(limits, batch=feed.batch_size, pause=_pause_micros(feed))


def _in_batches(limits: Limits, feed: Feed) -> Limits:
    """Return the limits with the batch, at most `batch_size`, and the step in it that use the rate best.

    Of requests in such batches, the first and the one that is `per_window` later must be a window apart. Without a
    pause, or with one that is shorter than the rate's own distance, the flow is even.
    """
    pause = _pause_micros(feed)
    # As many rounds of all slots as fit: a round that is not full would make the slots wait for the pause.
    largest = feed.batch_size - feed.batch_size % min(feed.batch_size, limits.downloads)
    if not limits.per_window:
        return replace(limits, batch=largest, pause=pause)
    even = ceil(limits.window / limits.per_window)
    if pause <= even:
        return replace(limits, batch=largest, step=even, pause=even)
    best, fastest = limits, 0.0
    for batch in range(1, largest + 1):
        whole, rest = divmod(limits.per_window, batch)
        step = ceil(max(0, limits.window - whole * pause) / max(1, whole * (batch - 1) + rest))
        cycle = max((batch - 1) * step + pause, batch * even)
        if step <= pause and batch / cycle >= fastest:
            best, fastest = replace(limits, batch=batch, step=step, pause=pause), batch / cycle
    return best


def _pause_micros(feed: Feed) -> int:
    """Return the pause between batches with the lateness that a request may have; 0 where the feed has none."""
    return to_micros(feed.batch_pause_seconds) + LATE_MICROS if feed.batch_pause_seconds else 0
