"""Is the origin unwell? A circuit breaker that opens after images that fail alike in a row, and closes by a probe."""

from collections.abc import Mapping
from dataclasses import replace

from shared.domain.failures import POLICIES, Failure, Reason
from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import Moment, to_micros

OPENS_AFTER: Mapping[Reason, int] = {Reason.FORBIDDEN: 10, Reason.GONE: 40, Reason.UNREACHABLE: 8}
"""How many images that fail alike in a row open the breaker. A listing may lose all its photos; a whole share that is
gone has no end."""
_FIRST_PROBE_SECONDS, _LONGEST_PROBE_SECONDS = 2.0, 30.0
"""The first and the longest wait between probes."""
_ALIKE = {
    Reason.FORBIDDEN: Reason.FORBIDDEN,
    Reason.GONE: Reason.GONE,
    Reason.UNREACHABLE: Reason.UNREACHABLE,
    Reason.TIMEOUT: Reason.UNREACHABLE,
}
"""The reasons that the breaker counts, each with the reason that it is counted as."""
_UNWELL = {Reason.THROTTLED, Reason.ORIGIN_ERROR, Reason.UNREACHABLE, Reason.TIMEOUT}
"""Failures of the origin itself: they end no row, and close no breaker."""


def after_answer(ledger: Ledger, slot: str, image_id: str, failure: Failure | None) -> Ledger:
    """Return the ledger after a download ended: a row of failures grows or ends, the breaker opens or closes.

    `failure` is None where the origin gave the image. While the breaker is open only its probe's end counts.
    """
    if ledger.breaker is None:
        return _counted(ledger, image_id, failure)
    return _probed(ledger, ledger.breaker, failure) if ledger.breaker.probe_slot == slot else ledger


def _counted(ledger: Ledger, image_id: str, failure: Failure | None) -> Ledger:
    counted_as = _ALIKE.get(failure.reason) if failure else None
    if counted_as is None:
        is_unwell = failure and failure.reason in _UNWELL
        return ledger if is_unwell or not ledger.failed_images else _without_row(ledger)
    row = ledger.failed_images if counted_as is ledger.failed_reason else ()
    if image_id in row:
        return ledger
    row = (*row, image_id)
    ledger = replace(ledger, failed_images=row, failed_reason=counted_as)
    if len(row) < OPENS_AFTER[counted_as]:
        return ledger
    reason = f"{len(row)} images in a row failed: {POLICIES[counted_as].meaning}; probes test the origin"
    opened = Breaker(counted_as, _FIRST_PROBE_SECONDS, _probe_at(ledger, _FIRST_PROBE_SECONDS))
    return replace(ledger, breaker=opened, reason=reason)


def _probed(ledger: Ledger, breaker: Breaker, failure: Failure | None) -> Ledger:
    """Return the ledger after a probe: closed where it found the origin well, else with a longer wait."""
    is_well = failure is None or (failure.reason not in _UNWELL and _ALIKE.get(failure.reason) is not breaker.reason)
    if is_well:
        return replace(_without_row(ledger), breaker=None)
    wait_seconds = min(2 * breaker.wait_seconds, _LONGEST_PROBE_SECONDS)
    return replace(
        ledger, breaker=replace(breaker, wait_seconds=wait_seconds, probe_at=_probe_at(ledger, wait_seconds))
    )


def _probe_at(ledger: Ledger, wait_seconds: float) -> Moment:
    return Moment(ledger.as_of + to_micros(wait_seconds))


def _without_row(ledger: Ledger) -> Ledger:
    return replace(ledger, failed_images=(), failed_reason=None)
