"""Accounts for ended downloads: frees their slots, counts their bytes, and learns from the origin's answers."""

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
"""Reasons of failures that are found before a request is sent: they say nothing of the origin."""


@dataclass(frozen=True, slots=True)
class EndedDownload:
    """How one granted download ended."""

    slot: str
    image_id: str
    sent_at: datetime | None
    """When its last request was sent; None if the download says nothing of the origin."""
    failure: Failure | None = None
    """The origin's failure; None if it answered well, or did not answer."""
    received_bytes: int = 0
    unused: tuple[datetime, ...] = ()
    """Planned times at which no request was sent: they are free again."""


def with_ended(ledger: Ledger, feed: Feed, ended: Sequence[EndedDownload], now: datetime, *, jitter: float) -> Ledger:
    """Return the ledger after downloads ended, given in the order of their ends.

    Their slots and unused planned times are free, and their bytes counted. The origin's answers may throttle the
    feed, and open or close its breaker. A download that is accounted for twice changes slots, bytes and requests once.
    `jitter`, from 0 to 1, makes a throttling without a named time up to a quarter longer.
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
    """Return the ledger after the origin's answer to a download, which may throttle the feed or change its breaker.

    Nothing changes if no request was sent, or if our own budget refused it.
    """
    if end.sent_at is None or (end.failure and end.failure.reason in _BEFORE_SENDING):
        return ledger
    ledger = throttling.after_answer(ledger, end.failure, to_moment(end.sent_at), jitter)
    return breaker.after_answer(ledger, end.slot, end.image_id, end.failure)
