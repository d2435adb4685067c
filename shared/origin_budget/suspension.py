"""Is a feed suspended? It gets no request while an operator pauses it, its origin throttles, or its breaker is open."""

from datetime import datetime

from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import SECOND_MICROS, Moment, to_datetime, to_micros, to_moment

PAUSE_ASK_AGAIN_MICROS = 10 * SECOND_MICROS
"""How soon to ask again while the feed is paused: an operator may end the pause before its time."""
PROBE_ASK_AGAIN_SECONDS = 5.0
"""The longest time to wait before asking again while a probe runs."""


def is_paused(ledger: Ledger, now: Moment) -> bool:
    """Return True if an operator paused the feed, and the pause has not ended at `now`."""
    return ledger.pause is not None and (ledger.pause.until is None or ledger.pause.until > now)


def grants_resume_at(ledger: Ledger) -> Moment | None:
    """Return when to ask for a grant again if the feed is suspended at `ledger.as_of`; None if a grant is allowed.

    A grant is also allowed if the breaker is open and its next probe is due.
    """
    if (ask_again_at := _held_until(ledger, ledger.as_of)) is not None:
        return ask_again_at
    if (breaker := ledger.breaker) is None:
        return None
    if breaker.probe_slot in ledger.slots:
        return Moment(ledger.as_of + probe_retry_micros(breaker))
    return breaker.probe_at if breaker.probe_at > ledger.as_of else None


def refused_until(ledger: Ledger, slot: str, now: datetime) -> datetime | None:
    """Return when to ask again if the feed has been suspended since the request of a download was granted.

    Return None if the request may be sent. `slot` is the slot of the download, `now` the store's time. While the
    breaker is open, only the request of its probe may be sent: of the download with the slot `probe_slot`.
    """
    moment = to_moment(now)
    if (held_until := _held_until(ledger, moment)) is not None:
        return to_datetime(held_until)
    if ledger.breaker and ledger.breaker.probe_slot != slot:
        return to_datetime(max(ledger.breaker.probe_at, moment + SECOND_MICROS))
    return None


def probe_retry_micros(breaker: Breaker) -> int:
    """Return how many microseconds to wait before asking for a grant again while the breaker's probe runs.

    The result is the breaker's last wait before a probe, at most 5 s.
    """
    return to_micros(min(breaker.wait_seconds, PROBE_ASK_AGAIN_SECONDS))


def _held_until(ledger: Ledger, now: Moment) -> Moment | None:
    """Return when to ask again if the feed is paused or throttled at `now`; None if it is neither.

    For a paused feed, it is the end of the pause, but at most 10 s after `now`, because an operator may end the pause
    early. For a throttled feed, it is the end of the throttling.
    """
    if ledger.pause and is_paused(ledger, now):
        ask_again_at = Moment(now + PAUSE_ASK_AGAIN_MICROS)
        return min(ledger.pause.until or ask_again_at, ask_again_at)
    return ledger.throttled_until if ledger.throttled_until > now else None
