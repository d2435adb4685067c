"""What an operator's pause, and its end, change of a stored ledger."""

from datetime import datetime, timedelta

from shared.origin_budget import codec
from shared.origin_budget.codec import Document
from shared.origin_budget.ledger import Pause
from shared.origin_budget.moments import to_moment


def paused(stored: Document, reason: str, now: datetime, lasting: timedelta | None) -> Document:
    """Return the stored ledger of a feed after an operator paused it at `now`, the store's time.

    `lasting` is how long the pause lasts; None: until an operator ends it. `reason` is for other operators.
    """
    until = to_moment(now + lasting) if lasting else None
    return codec.with_pause(stored, Pause(to_moment(now), until, reason))


def resumed(stored: Document) -> Document:
    """Return the stored ledger of a feed after an operator resumed it: without pause, throttling and open breaker."""
    return codec.without_suspensions(stored)
