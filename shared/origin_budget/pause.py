"""What does an operator's pause change of a stored ledger? Its begin and end; every request heeds it."""

from datetime import datetime, timedelta

from shared.origin_budget import codec
from shared.origin_budget.codec import Document
from shared.origin_budget.ledger import Pause
from shared.origin_budget.moments import to_moment


def paused(stored: Document, reason: str, now: datetime, lasting: timedelta | None) -> Document:
    """Return the stored ledger of a feed that an operator pauses `now`.

    `lasting` is how long; None: until an operator ends the pause.
    """
    until = to_moment(now + lasting) if lasting else None
    return codec.with_pause(stored, Pause(to_moment(now), until, reason))


def resumed(stored: Document) -> Document:
    """Return the stored ledger of a feed that may be asked again: throttling and open breaker end with the pause."""
    return codec.without_suspensions(stored)
