"""Estimates how long a feed's downloads take at least, from the feed's limits and the capacity left of them."""

from math import ceil, inf

from shared.domain.feed import Feed
from shared.domain.throughput import allowed_per_second
from shared.origin_budget.use import BudgetUse

_WINDOW_SECONDS = {"hour": 3_600.0, "day": 86_400.0, "bytes_hour": 3_600.0}


def seconds_for(downloads: int, received_bytes: int | None, feed: Feed, use: BudgetUse) -> float:
    """Return the least number of seconds that a feed's downloads take at routine priority, by its tightest limit. Pure.

    `downloads` is the number of downloads, `received_bytes` the size of all of them together, or None if the size is
    unknown. `use` says how much of the feed's windows is used already; only the rest is available to the downloads.
    """
    share = 1.0 - feed.viewed_reserve
    per_second = min(allowed_per_second(feed), feed.requests_per_second * share or inf)
    seconds = [downloads / per_second]
    for window in use.windows:
        if window.name in _WINDOW_SECONDS:
            amount = (received_bytes or 0) if window.name == "bytes_hour" else downloads
            more_windows = ceil(max(0.0, amount - window.remaining_for_routine) / max(1.0, window.limit * share))
            seconds.append(more_windows * _WINDOW_SECONDS[window.name])
    return max(seconds)
