"""What do an operator's pause and its end change of a stored ledger?"""

from datetime import datetime, timedelta

from shared.origin_budget import codec
from shared.origin_budget.codec import Document
from shared.origin_budget.ledger import Pause
from shared.origin_budget.moments import to_moment


def paused(stored: Document, reason: str, now: datetime, lasting: timedelta | None) -> Document:
    """Return a feed's stored ledger after an operator paused the feed at `now`, the store's time.

    `reason` is for other operators. `lasting` is how long the pause lasts; None if it lasts until an operator ends it.
    """
    until = to_moment(now + lasting) if lasting else None
    return codec.with_pause(stored, Pause(to_moment(now), until, reason))


def resumed(stored: Document) -> Document:
    """Return a feed's stored ledger after an operator resumed the feed: without pause, throttling and open breaker."""
    return codec.without_suspensions(stored)
