"""An operator silences a feed's origin, or opens it again: two changes of its ledger, which every request heeds.

The ledger is the downloader's (`services/downloader/budget.py`); what is changed of it here is all that is known of it.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from shared.stores.budgets import Budgets
from shared.stores.errors import StoreUnavailable

Document = Mapping[str, object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRIES = 60


def frozen(ledger: Document, reason: str, now: datetime, lasting: timedelta | None) -> Document:
    """Return the ledger of a feed that nothing is asked of, for so long or until it is thawed. Pure."""
    until = _micros(now + lasting) if lasting else 0
    return {**ledger, "halt": {"since": _micros(now), "until": until, "reason": reason}}


def thawed(ledger: Document) -> Document:
    """Return the ledger of a feed that may be asked again: the origin's own silence and the breaker end too. Pure."""
    opened = {"frozen_until": 0, "throttled": 0, "run_images": [], "run_of": None, "breaker": None, "reason": ""}
    return {**ledger, **opened, "halt": None}


async def freeze(budgets: Budgets, feed: str, reason: str, lasting: timedelta | None) -> None:
    """Stop all requests to the feed's origin, viewed and routine alike. Raises StoreUnavailable.

    What is not sent by then is not sent: workers look at the ledger right before each request.
    """
    await _change(budgets, feed, lambda ledger, now: frozen(ledger, reason, now, lasting))


async def thaw(budgets: Budgets, feed: str) -> None:
    """Allow requests again, whoever or whatever had silenced the feed. Raises StoreUnavailable."""
    await _change(budgets, feed, lambda ledger, _: thawed(ledger))


async def _change(budgets: Budgets, feed: str, rule: Callable[[Document, datetime], Document]) -> None:
    """Write if unchanged; where a worker was faster, read and decide again."""
    for tries in range(_TRIES):
        stored = await budgets.get(feed)
        if await budgets.replace(feed, rule(stored.document, stored.now), stored.revision):
            return
        await asyncio.sleep(random.random() * min(0.002 * 2**tries, 0.1))  # noqa: S311 - spreads writers
    raise StoreUnavailable(f"the budget of feed {feed} changed {_TRIES} times while it was being written")


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
