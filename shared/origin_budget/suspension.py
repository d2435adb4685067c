"""May a feed's origin be asked at all? Not while an operator paused it, it throttles, or its breaker is open."""

from datetime import datetime

from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import SECOND_MICROS, Moment, to_datetime, to_micros, to_moment

PAUSE_ASK_AGAIN_MICROS = 10 * SECOND_MICROS
"""When to ask again while an operator pauses the feed, for nobody knows when the pause ends."""
PROBE_ASK_AGAIN_SECONDS = 5.0
"""When to ask again at the latest while a probe is under way."""


def is_paused(ledger: Ledger, now: Moment) -> bool:
    """Return True if an operator's pause is in force."""
    return ledger.pause is not None and (ledger.pause.until is None or ledger.pause.until > now)


def grants_resume_at(ledger: Ledger) -> Moment | None:
    """Return when to ask again for a grant while none is given to anybody.

    None: grants are given, if only one for a probe.
    """
    if (ask_again_at := _held_until(ledger, ledger.as_of)) is not None:
        return ask_again_at
    if (breaker := ledger.breaker) is None:
        return None
    if breaker.probe_slot in ledger.slots:
        return Moment(ledger.as_of + probe_patience_micros(breaker))
    return breaker.probe_at if breaker.probe_at > ledger.as_of else None


def refused_until(ledger: Ledger, slot: str, now: datetime) -> datetime | None:
    """Return until when a granted request must not be sent, for the feed was suspended after the grant.

    None: it may be sent. An open breaker lets only its probe, known by its slot, go.
    """
    moment = to_moment(now)
    if (held_until := _held_until(ledger, moment)) is not None:
        return to_datetime(held_until)
    if ledger.breaker and ledger.breaker.probe_slot != slot:
        return to_datetime(max(ledger.breaker.probe_at, moment + SECOND_MICROS))
    return None


def probe_patience_micros(breaker: Breaker) -> int:
    """Return how long to wait before asking again while the breaker's probe is under way."""
    return to_micros(min(breaker.wait_seconds, PROBE_ASK_AGAIN_SECONDS))


def _held_until(ledger: Ledger, now: Moment) -> Moment | None:
    """Return when to ask again while a pause or a throttling is in force; None where neither is."""
    if ledger.pause and is_paused(ledger, now):
        ask_again_at = Moment(now + PAUSE_ASK_AGAIN_MICROS)
        return min(ledger.pause.until or ask_again_at, ask_again_at)
    return ledger.throttled_until if ledger.throttled_until > now else None
