"""How long is a throttling? As long as the origin says; if it names no time, each is twice as long as the last."""

from dataclasses import replace

from shared.domain.failures import REASONS, Failure, Reason
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.moments import SECOND_MICROS, Moment, to_micros

MIN_SECONDS, MAX_SECONDS = 1.0, 86_400.0
"""The bounds of a throttling for which the origin names a time."""
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 300.0
"""The first and the longest throttling for which the origin names no time; each lasts twice as long as the last."""
_CALM_MICROS = 10 * SECOND_MICROS
"""How long after a throttling a request must be sent for its good answer to end the doubling. Right after a throttling,
any origin answers some requests well."""


def after_answer(ledger: Ledger, failure: Failure | None, sent_at: Moment, jitter: float) -> Ledger:
    """Return the ledger after the origin answered a request sent at `sent_at`; `failure` is None for a good answer.

    A 429 throttles the feed, and so does any failure for which the origin named a time to wait. If the origin named no
    time, the throttling is twice as long as the last, at most 300 s; `jitter`, a random number from 0 to 1, makes it up
    to a quarter longer. A good answer to a request that was sent 10 s or more after the last throttling ends the
    doubling.
    """
    if failure is None:
        is_calm = sent_at >= ledger.throttled_until + _CALM_MICROS
        return replace(ledger, throttlings=0) if is_calm else ledger
    if failure.reason is Reason.THROTTLED or failure.wait_seconds is not None:
        return _throttled(ledger, failure, sent_at, jitter)
    return ledger


def bounded(seconds: float) -> float:
    """Return the seconds that an origin asked to wait, but at least `MIN_SECONDS` and at most `MAX_SECONDS`."""
    return min(max(MIN_SECONDS, seconds), MAX_SECONDS)


def _throttled(ledger: Ledger, failure: Failure, sent_at: Moment, jitter: float) -> Ledger:
    """Return the ledger throttled for the seconds that the origin named, or for 1, 2, 4 … 300 s if it named none.

    `sent_at` is when the request was sent. `jitter`, a random number from 0 to 1, makes a time that the origin did not
    name up to a quarter longer. A named time never makes a present throttling shorter. If no time is named and the
    request was sent before the last throttling ended, the ledger is unchanged: an origin that throttles a feed refuses
    the requests already sent, too.
    """
    if failure.wait_seconds is not None:
        seconds = bounded(failure.wait_seconds)
    elif sent_at < ledger.throttled_until:
        return ledger
    else:
        # The exponent is bounded, as very many throttlings in a row would overflow the power.
        seconds = min(_FIRST_SECONDS * 2.0 ** min(ledger.throttlings, 30), _LONGEST_SECONDS) * (1 + jitter / 4)
        ledger = replace(ledger, throttlings=ledger.throttlings + 1)
    until = Moment(ledger.as_of + to_micros(seconds))
    if until <= ledger.throttled_until:
        return ledger
    reason = f"{REASONS[failure.reason].meaning}: silent for {seconds:.0f} s"
    return replace(ledger, throttled_until=until, reason=reason)
