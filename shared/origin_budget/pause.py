"""What do an operator's pause and its end change of a stored ledger?"""

from datetime import datetime, timedelta

from shared.origin_budget import codec
from shared.origin_budget.codec import Document
from shared.origin_budget.ledger import Pause
from shared.origin_budget.moments import to_moment


def paused(stored: Document, reason: str, now: datetime, lasting: timedelta | None) -> Document:
    """Return the document of a feed's ledger after an operator paused the feed at `now`, the store's time.

    `stored` is the document as read; the caller writes the result. `reason` is a text for other operators. `lasting` is
    how long the pause lasts, None if it lasts until an operator ends it.
    """
    until = to_moment(now + lasting) if lasting else None
    return codec.with_pause(stored, Pause(to_moment(now), until, reason))


def resumed(stored: Document) -> Document:
    """Return the document of a feed's ledger after an operator resumed the feed: no suspension is left in it.

    Pause, throttling and open breaker all end. `stored` is the document as read; the caller writes the result.
    """
    return codec.without_suspensions(stored)
