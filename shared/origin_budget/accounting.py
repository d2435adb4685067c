"""What does the end of a download change? Its slot is free, its bytes are counted, and it tells how the origin is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.origin_budget import breaker, throttling
from shared.origin_budget.advance import advanced
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.moments import to_moment
from shared.origin_budget.pacing import without_planned
from shared.origin_budget.windows import HOUR

_BEFORE_SENDING = {Reason.BAD_URL, Reason.REFUSED_HOST, Reason.REFUSED_ADDRESS}
"""Failures found before anything was sent: nothing was learned of the origin."""


@dataclass(frozen=True, slots=True)
class EndedDownload:
    """How one granted download ended."""

    slot: str
    image_id: str
    sent_at: datetime | None
    """When its last request was sent; None where the download says nothing of the origin."""
    failure: Failure | None = None
    """Why the origin gave no image; None where it gave one, or where nothing is known."""
    received_bytes: int = 0
    unused: tuple[datetime, ...] = ()
    """Planned times at which nothing was sent: they are free again."""


def with_ended(ledger: Ledger, feed: Feed, ended: Sequence[EndedDownload], now: datetime, *, jitter: float) -> Ledger:
    """Return the ledger after downloads ended, given in the order of their ends.

    Their slots and unused planned times are free, their bytes counted; throttling and breaker follow the origin's
    answers. An end that is accounted for twice changes no slot, byte or request. `jitter` in [0, 1] spreads the ends of
    throttlings.
    """
    ledger = advanced(ledger, feed, now)
    for end in ended:
        if end.slot in ledger.slots:  # else it was accounted for, or expired and was taken for lost
            ledger = _without_slot(ledger, end)
        ledger = _after_answer(ledger, end, jitter)
    return ledger


def _without_slot(ledger: Ledger, end: EndedDownload) -> Ledger:
    return replace(
        without_planned(ledger, end.unused),
        slots={slot: expires_at for slot, expires_at in ledger.slots.items() if slot != end.slot},
        hour_bytes=HOUR.added(ledger.hour_bytes, ledger.as_of, end.received_bytes),
    )


def _after_answer(ledger: Ledger, end: EndedDownload, jitter: float) -> Ledger:
    """Return the ledger with what the end says of the origin: throttling, a step towards the breaker, or health."""
    if end.sent_at is None or (end.failure and end.failure.reason in _BEFORE_SENDING):
        return ledger
    ledger = throttling.after_answer(ledger, end.failure, to_moment(end.sent_at), jitter)
    return breaker.after_answer(ledger, end.slot, end.image_id, end.failure)
