"""Accounts for ended downloads: frees their slots, counts their bytes, and applies the origin's answers."""

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
"""Reasons of failures that are found before a request is sent: they say nothing about the origin."""


@dataclass(frozen=True, slots=True)
class EndedDownload:
    """The end of a granted download: what the feed's ledger must account for."""

    slot: str
    image_id: str
    sent_at: datetime | None
    """When its last request was sent; None if the end of the download says nothing about the origin."""
    failure: Failure | None = None
    """Why the download failed; None after a good answer, or if the download was given back."""
    received_bytes: int = 0
    unused: tuple[datetime, ...] = ()
    """Planned times at which no request was sent: other requests may have them."""


def with_ended(ledger: Ledger, feed: Feed, ended: Sequence[EndedDownload], now: datetime, *, jitter: float) -> Ledger:
    """Return the feed's ledger after these downloads ended, in the order of `ended`; the caller writes it.

    The slots and the unused planned times of the downloads are free again, and their bytes are counted. The origin's
    answers may throttle the feed, and open or close its breaker. `jitter`, a random number from 0 to 1, makes a
    throttling up to a quarter longer if the origin named no time. A download may be accounted for twice: its slot,
    bytes and requests are then changed only once.
    """
    ledger = advanced(ledger, feed, now)
    for download in ended:
        if download.slot in ledger.slots:  # else it was accounted for already, here or when its slot expired
            ledger = _without_slot(ledger, download)
        ledger = _after_answer(ledger, download, jitter)
    return ledger


def _without_slot(ledger: Ledger, download: EndedDownload) -> Ledger:
    return replace(
        without_planned(ledger, download.unused),
        slots={slot: expires_at for slot, expires_at in ledger.slots.items() if slot != download.slot},
        hour_bytes=HOUR.added(ledger.hour_bytes, ledger.as_of, download.received_bytes),
    )


def _after_answer(ledger: Ledger, download: EndedDownload, jitter: float) -> Ledger:
    """Return the ledger after the origin's answer to a download, which may throttle the feed or change its breaker.

    `jitter` is the argument of `with_ended`. The ledger is unchanged if the download's end says nothing about the
    origin: no request was sent, the budget refused the last request, or the worker knows that the answer says nothing.
    """
    if download.sent_at is None or (download.failure and download.failure.reason in _BEFORE_SENDING):
        return ledger
    ledger = throttling.after_answer(ledger, download.failure, to_moment(download.sent_at), jitter)
    return breaker.after_answer(ledger, download.slot, download.image_id, download.failure)
