"""How long do so many downloads take? By the feed's budgets, and what is left of them."""

from math import ceil, inf

from shared.domain.feed import Feed
from shared.domain.throughput import allowed_per_second
from shared.origin_budget.use import BudgetUse

_LENGTHS = {"hour": 3_600.0, "day": 86_400.0, "bytes_hour": 3_600.0}


def seconds_for(downloads: int, received: int | None, feed: Feed, use: BudgetUse) -> float:
    """Return how long downloads that nobody waits for take at least; the windows go on from what is used of them.

    `received` is how many bytes they bring, null where nobody knows. Pure.
    """
    share = 1.0 - feed.viewed_reserve
    by_rate = min(allowed_per_second(feed), feed.requests_per_second * share or inf)
    waits = [downloads / by_rate]
    for window in use.windows:
        if window.name in _LENGTHS:
            wanted = (received or 0) if window.name == "bytes_hour" else downloads
            rounds = ceil(max(0.0, wanted - window.remaining_for_routine) / max(1.0, window.limit * share))
            waits.append(rounds * _LENGTHS[window.name])
    return max(waits)
