"""Reads how much of a feed's budget is used now: for commands, the desk and the scheduler's metrics."""

from shared.domain.feed import Feed
from shared.origin_budget import use
from shared.origin_budget.use import BudgetUse
from shared.stores.ledgers import Ledgers


async def read_use(ledgers: Ledgers, feed: Feed) -> BudgetUse:
    """Return how much of its budget the feed has used, and its suspensions, at the store's own time.

    Raises StoreUnavailable.
    """
    stored = await ledgers.get(feed.name)
    return use.of_ledger(feed, stored.ledger, stored.now)
