"""Pauses a feed's origin by an operator's order, or ends that: two changes of its ledger, which every request heeds."""

from datetime import timedelta

from shared.origin_budget import pause as rules
from shared.stores import ledgers as ledger_store
from shared.stores.ledgers import Ledgers


async def pause(ledgers: Ledgers, feed: str, reason: str, lasting: timedelta | None) -> None:
    """Stop all requests to the feed's origin, viewed and routine alike, for so long or until `resume`.

    What is not sent by then is not sent, for workers look at the ledger right before each request. Raises
    StoreUnavailable and Contention.
    """
    await ledger_store.update(
        ledgers, feed, lambda stored: (rules.paused(stored.document, reason, stored.now, lasting), None)
    )


async def resume(ledgers: Ledgers, feed: str) -> None:
    """Allow requests to the feed's origin again: end a pause, a throttling and an open breaker.

    Raises StoreUnavailable and Contention.
    """
    await ledger_store.update(ledgers, feed, lambda stored: (rules.resumed(stored.document), None))
