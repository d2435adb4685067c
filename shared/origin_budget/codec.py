"""How is a ledger stored? As a document whose keys never change: every later version of the code must read it.

`to_document` drops keys that this version does not know; `with_pause` and `without_suspensions` keep them.
"""

from collections.abc import Mapping
from typing import Any

from shared.domain.failures import Reason
from shared.origin_budget.ledger import Breaker, Ledger, Pause
from shared.origin_budget.moments import Moment
from shared.origin_budget.windows import Tally

Document = Mapping[str, Any]
"""A ledger as it is stored."""


def to_document(ledger: Ledger) -> Document:
    """Return the document as which the ledger is stored. JSON and BSON keep all its values exactly."""
    return {
        "seen": ledger.as_of,
        "slots": dict(ledger.slots),
        "sends": ledger.planned,
        "hour": ledger.hour_requests,
        "day": ledger.day_requests,
        "received": ledger.hour_bytes,
        "batch": ledger.batch_requests,
        "batch_last": ledger.batch_latest,
        "viewed_until": ledger.viewed_slot_until,
        **_suspensions(ledger),
    }


def from_document(stored: Document) -> Ledger:
    """Return the ledger that is stored as this document; an unused ledger for an empty document.

    Older versions of the code did not write all keys. A field whose key is missing gets the value of an unused ledger.
    """
    unused = Ledger()
    run_of = stored.get("run_of")
    return Ledger(
        as_of=stored.get("seen", unused.as_of),
        slots=stored.get("slots", unused.slots),
        planned=tuple(stored.get("sends", ())),
        hour_requests=_tally(stored, "hour"),
        day_requests=_tally(stored, "day"),
        hour_bytes=_tally(stored, "received"),
        batch_requests=stored.get("batch", unused.batch_requests),
        batch_latest=stored.get("batch_last", unused.batch_latest),
        viewed_slot_until=stored.get("viewed_until", unused.viewed_slot_until),
        throttled_until=stored.get("frozen_until", unused.throttled_until),
        throttlings=stored.get("throttled", unused.throttlings),
        failed_images=tuple(stored.get("run_images", ())),
        failed_reason=Reason(run_of) if run_of else None,
        breaker=_breaker(stored.get("breaker")),
        reason=stored.get("reason", unused.reason),
        pause=_pause(stored.get("halt")),
    )


def with_pause(stored: Document, pause: Pause) -> Document:
    """Return the document of a stored ledger with this pause by an operator; all other keys are unchanged."""
    return {**stored, "halt": _pause_document(pause)}


def without_suspensions(stored: Document) -> Document:
    """Return the document of a stored ledger without its suspensions: pause, throttling and open breaker.

    All other keys are unchanged.
    """
    return {**stored, **_suspensions(Ledger())}


def _suspensions(ledger: Ledger) -> Document:
    breaker = ledger.breaker and {
        "reason": ledger.breaker.reason,
        "wait_seconds": ledger.breaker.wait_seconds,
        "probe_at": ledger.breaker.probe_at,
        "probe": ledger.breaker.probe_slot,
    }
    return {
        "frozen_until": ledger.throttled_until,
        "throttled": ledger.throttlings,
        "run_images": ledger.failed_images,
        "run_of": ledger.failed_reason,
        "breaker": breaker,
        "reason": ledger.reason,
        "halt": ledger.pause and _pause_document(ledger.pause),
    }


def _tally(stored: Document, key: str) -> Tally:
    return tuple((bucket, amount) for bucket, amount in stored.get(key, ()))


def _breaker(stored: Document | None) -> Breaker | None:
    if not stored:
        return None
    return Breaker(Reason(stored["reason"]), stored["wait_seconds"], stored["probe_at"], stored.get("probe", ""))


def _pause(stored: Document | None) -> Pause | None:
    return Pause(Moment(stored["since"]), stored["until"] or None, stored["reason"]) if stored else None


def _pause_document(pause: Pause) -> Document:
    """Return a pause as it is stored. `until` is 0 if the pause has no end."""
    return {"since": pause.since, "until": pause.until or 0, "reason": pause.reason}
