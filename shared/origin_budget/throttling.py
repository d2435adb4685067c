"""How long does an origin want silence? As long as it says, else ever longer while it goes on answering 429."""

from dataclasses import replace

from shared.domain.failures import POLICIES, Failure, Reason
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.moments import SECOND_MICROS, Moment, to_micros

MIN_SECONDS, MAX_SECONDS = 1.0, 86_400.0
"""A throttling for which the origin names a time lasts that long, within these bounds."""
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 300.0
"""The first and the longest throttling for which the origin names no time."""
_CALM_MICROS = 10 * SECOND_MICROS
"""A success so long after a throttling ends the doubling; right behind a throttling, any origin lets some pass."""


def after_answer(ledger: Ledger, failure: Failure | None, sent_at: Moment, jitter: float) -> Ledger:
    """Return the ledger after an origin's answer to a request sent at `sent_at`; no failure is a good answer.

    A failure that throttles or names a time to wait suspends the feed; `jitter` in [0, 1] makes a suspension without a
    named time up to a quarter longer. A good answer, some time after the last throttling, ends the doubling.
    """
    if failure is None:
        is_calm = sent_at >= ledger.throttled_until + _CALM_MICROS
        return replace(ledger, throttlings=0) if is_calm else ledger
    if failure.reason is Reason.THROTTLED or failure.wait_seconds is not None:
        return _throttled(ledger, failure, sent_at, jitter)
    return ledger


def bounded(seconds: float) -> float:
    """Return the time that an origin named, in seconds, within the bounds that are heeded."""
    return min(max(MIN_SECONDS, seconds), MAX_SECONDS)


def _throttled(ledger: Ledger, failure: Failure, sent_at: Moment, jitter: float) -> Ledger:
    """Return the ledger throttled for the time that the failure names, or for 1, 2, 4 … 300 s where it names none.

    Answers to requests sent before an earlier throttling ended belong to that one: only a named time prolongs it.
    """
    if failure.wait_seconds is not None:
        seconds = bounded(failure.wait_seconds)
    elif sent_at < ledger.throttled_until:
        return ledger
    else:
        # The bound of the exponent keeps a very long run from overflowing.
        seconds = min(_FIRST_SECONDS * 2.0 ** min(ledger.throttlings, 30), _LONGEST_SECONDS) * (1 + jitter / 4)
        ledger = replace(ledger, throttlings=ledger.throttlings + 1)
    until = Moment(ledger.as_of + to_micros(seconds))
    if until <= ledger.throttled_until:
        return ledger
    reason = f"{POLICIES[failure.reason].meaning}: silent for {seconds:.0f} s"
    return replace(ledger, throttled_until=until, reason=reason)
