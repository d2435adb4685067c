"""A circuit breaker: opens after many photos in a row failed for the same reason, and closes when a probe succeeds."""

from collections.abc import Mapping
from dataclasses import replace

from shared.domain.failures import REASONS, Failure, Reason
from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import Moment, to_micros

OPENS_AFTER: Mapping[Reason, int] = {Reason.FORBIDDEN: 10, Reason.GONE: 40, Reason.UNREACHABLE: 8}
"""After how many photos in a row that failed for this reason the breaker opens. GONE has the highest number: a listing
may lose all its photos while the origin is well."""
_FIRST_PROBE_SECONDS, _LONGEST_PROBE_SECONDS = 2.0, 30.0
"""The first and the longest wait before a probe; each wait is twice as long as the last."""
_COUNTED_AS = {
    Reason.FORBIDDEN: Reason.FORBIDDEN,
    Reason.GONE: Reason.GONE,
    Reason.UNREACHABLE: Reason.UNREACHABLE,
    Reason.TIMEOUT: Reason.UNREACHABLE,
}
"""The failures' reasons that the breaker counts, each with the reason as which it is counted."""
_UNWELL = {Reason.THROTTLED, Reason.ORIGIN_ERROR, Reason.UNREACHABLE, Reason.TIMEOUT}
"""Reasons that do not show a healthy origin: they do not end a row of failures, and do not close the breaker."""


def after_answer(ledger: Ledger, slot: str, image_id: str, failure: Failure | None) -> Ledger:
    """Return the ledger after the origin's answer to a request; `failure` is None for a good answer.

    `slot` is the slot of the download that sent the request, `image_id` its photo. While the breaker is closed, the
    answer lengthens or ends the row of failures; a long enough row (`OPENS_AFTER`) opens the breaker. While the breaker
    is open, only the answer to its probe counts, which is the download with the slot `probe_slot`. A healthy origin
    closes the breaker; otherwise the wait before the next probe doubles, up to 30 s.
    """
    if ledger.breaker is None:
        return _counted(ledger, image_id, failure)
    return _probed(ledger, ledger.breaker, failure) if ledger.breaker.probe_slot == slot else ledger


def _counted(ledger: Ledger, image_id: str, failure: Failure | None) -> Ledger:
    """Return the ledger after the origin's answer to a download of the photo `image_id`, while the breaker is closed.

    `failure` is None for a good answer. The breaker counts failures for the reasons in `_COUNTED_AS`: such a failure
    joins the row of failures for the same reason, or begins a new row. A photo is counted once in a row. The breaker
    opens if the row is long enough. A good answer, or a failure that shows a healthy origin, ends the row. A failure
    for another of the reasons in `_UNWELL` changes nothing.
    """
    counted_as = _COUNTED_AS.get(failure.reason) if failure else None
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
    reason = f"{len(row)} images in a row failed: {REASONS[counted_as].meaning}; probes test the origin"
    opened = Breaker(counted_as, _FIRST_PROBE_SECONDS, _probe_at(ledger, _FIRST_PROBE_SECONDS))
    return replace(ledger, breaker=opened, reason=reason)


def _probed(ledger: Ledger, breaker: Breaker, failure: Failure | None) -> Ledger:
    """Return the ledger after the origin's answer to the probe of the open `breaker`; `failure` is None for a good one.

    A good answer closes the breaker, and so does a failure that shows a healthy origin. After any other failure, and
    after one for the reason that opened the breaker, the breaker stays open. The wait before the next probe is then
    twice as long as the last, at most 30 s.
    """
    is_unwell = failure and (failure.reason in _UNWELL or _COUNTED_AS.get(failure.reason) is breaker.reason)
    if not is_unwell:
        return replace(_without_row(ledger), breaker=None)
    wait_seconds = min(2 * breaker.wait_seconds, _LONGEST_PROBE_SECONDS)
    return replace(
        ledger, breaker=replace(breaker, wait_seconds=wait_seconds, probe_at=_probe_at(ledger, wait_seconds))
    )


def _probe_at(ledger: Ledger, wait_seconds: float) -> Moment:
    return Moment(ledger.as_of + to_micros(wait_seconds))


def _without_row(ledger: Ledger) -> Ledger:
    return replace(ledger, failed_images=(), failed_reason=None)
