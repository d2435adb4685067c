"""Reads how much of its budget a feed uses now, for `imagectl`, the desk and metrics."""

from shared.domain.feed import Feed
from shared.origin_budget import use
from shared.origin_budget.use import BudgetUse
from shared.stores.ledgers import Ledgers


async def read_use(ledgers: Ledgers, feed: Feed) -> BudgetUse:
    """Read a feed's ledger; return how much of its budget the feed uses at the store's time, and its suspensions.

    Nothing is written. Raises StoreUnavailable.
    """
    stored = await ledgers.get(feed.name)
    return use.of_ledger(feed, stored.ledger, stored.now)
