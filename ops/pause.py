"""Pauses a feed's requests by an operator's order, and ends the pause: two changes of the feed's ledger."""

from datetime import timedelta

from shared.origin_budget import pause as rules
from shared.stores import ledgers as ledger_store
from shared.stores.ledgers import Ledgers


async def pause(ledgers: Ledgers, feed: str, reason: str, lasting: timedelta | None) -> None:
    """Stop all requests to the feed's origin, of viewed photos too, by a change of the feed's ledger.

    The pause ends after `lasting`, or by `resume` if `lasting` is None. `reason` is shown to operators. Requests that
    are granted but not sent yet are stopped too, because workers read the ledger right before each request. Raises
    StoreUnavailable if MongoDB does not answer, and Contention if others keep changing the ledger.
    """
    await ledger_store.update(
        ledgers, feed, lambda stored: (rules.paused(stored.document, reason, stored.now, lasting), None)
    )


async def resume(ledgers: Ledgers, feed: str) -> None:
    """Allow requests to the feed's origin again, by a change of the feed's ledger.

    The feed's pause, its throttling and its open breaker are ended. Raises StoreUnavailable if MongoDB does not answer,
    and Contention if others keep changing the ledger.
    """
    await ledger_store.update(ledgers, feed, lambda stored: (rules.resumed(stored.document), None))
