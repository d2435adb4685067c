"""How long does an origin get no request after it asked for fewer? As long as it says, or ever longer."""

from dataclasses import replace

from shared.domain.failures import REASONS, Failure, Reason
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.moments import SECOND_MICROS, Moment, to_micros

MIN_SECONDS, MAX_SECONDS = 1.0, 86_400.0
"""The bounds of a throttling for which the origin names a time."""
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 300.0
"""The first and the longest throttling for which the origin names no time; each lasts twice as long as the last."""
_CALM_MICROS = 10 * SECOND_MICROS
"""A good answer so long after a throttling ends the doubling; right after one, any origin answers some requests."""


def after_answer(ledger: Ledger, failure: Failure | None, sent_at: Moment, jitter: float) -> Ledger:
    """Return the ledger after the origin answered a request sent at `sent_at`; `failure` is None for a good answer.

    A 429 and a failure that names a time to wait throttle the feed. A throttling without a named time is up to a
    quarter longer, by `jitter` from 0 to 1. A good answer some time after the last throttling ends the doubling.
    """
    if failure is None:
        is_calm = sent_at >= ledger.throttled_until + _CALM_MICROS
        return replace(ledger, throttlings=0) if is_calm else ledger
    if failure.reason is Reason.THROTTLED or failure.wait_seconds is not None:
        return _throttled(ledger, failure, sent_at, jitter)
    return ledger


def bounded(seconds: float) -> float:
    """Return the seconds that an origin named, cut to the bounds of a throttling."""
    return min(max(MIN_SECONDS, seconds), MAX_SECONDS)


def _throttled(ledger: Ledger, failure: Failure, sent_at: Moment, jitter: float) -> Ledger:
    """Return the ledger throttled for the seconds that the failure names, or for 1, 2, 4 … 300 s if it names none.

    An answer to a request that was sent before the last throttling ended belongs to that throttling, and only a named
    time makes it longer.
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
    reason = f"{REASONS[failure.reason].meaning}: silent for {seconds:.0f} s"
    return replace(ledger, throttled_until=until, reason=reason)
