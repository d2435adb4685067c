"""Brings a ledger up to date: old requests leave their windows, and slots of dead workers are free again."""

from dataclasses import replace
from datetime import datetime

from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget import suspension
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import limits_of
from shared.origin_budget.moments import SECOND_MICROS, Moment, to_moment
from shared.origin_budget.windows import DAY, HOUR

CLOCK_STEP_MICROS = 5 * SECOND_MICROS
"""If the store's time is further than this behind the ledger's, the store's clock was set back."""


def advanced(ledger: Ledger, feed: Feed, now: datetime) -> Ledger:
    """Return the feed's ledger as of `now`, the store's time: without old requests, expired slots and an ended pause.

    A request is old once it has left all windows. Nobody knows how many bytes the dead worker of an expired slot
    received, so the bytes of the largest allowed file are counted. If the store's clock was set back, the ledger's
    times are moved back by as much.
    """
    moment = to_moment(now)
    if ledger.as_of > moment + CLOCK_STEP_MICROS:
        ledger = _set_back(ledger, ledger.as_of - moment)
    as_of = max(ledger.as_of, moment)
    window = limits_of(feed, Priority.VIEWED).window_micros
    hour_bytes = ledger.hour_bytes
    for expires_at in ledger.slots.values():
        if expires_at <= as_of:
            hour_bytes = HOUR.added(hour_bytes, expires_at, feed.max_file_bytes)
    return replace(
        ledger,
        as_of=as_of,
        slots={slot: expires_at for slot, expires_at in ledger.slots.items() if expires_at > as_of},
        planned=tuple(at for at in ledger.planned if at > as_of - window),
        hour_requests=HOUR.recent(ledger.hour_requests, as_of),
        day_requests=DAY.recent(ledger.day_requests, as_of),
        hour_bytes=HOUR.recent(hour_bytes, as_of) if feed.bytes_per_hour else (),
        pause=ledger.pause if suspension.is_paused(ledger, as_of) else None,
    )


def with_earlier_runs_expired(ledger: Ledger, worker: str, run: str, now: datetime) -> Ledger:
    """Return the ledger in which the slots of the worker's earlier runs expire at `now`, or at their earlier end.

    A process applies this rule with its first change of each feed's ledger: the connections of an earlier run ended
    with its process. `worker` and `run` are the short names of the worker and of its present run. The name of each slot
    begins with the names of a worker and of a run, each followed by a dash.
    """
    worker_prefix, run_prefix, moment = f"{worker}-", f"{worker}-{run}-", to_moment(now)
    dead = {slot for slot in ledger.slots if slot.startswith(worker_prefix) and not slot.startswith(run_prefix)}
    if not dead:
        return ledger
    slots = {slot: min(until, moment) if slot in dead else until for slot, until in ledger.slots.items()}
    return replace(ledger, slots=slots)


def _set_back(ledger: Ledger, micros: int) -> Ledger:
    """Return the ledger with its times moved back by `micros` microseconds.

    `advanced` calls this function if the store's time is more than 5 s behind the ledger's last use: the store's clock
    was set back then. Only the times of an operator's pause stay, because nobody knows whether the pause was written
    before or after that. A pause that lasts too long does less harm than a pause that ends too early.
    """

    def moved(at: Moment) -> Moment:
        return Moment(at - micros)

    breaker = ledger.breaker
    return replace(
        ledger,
        as_of=moved(ledger.as_of),
        slots={slot: moved(until) for slot, until in ledger.slots.items()},
        planned=tuple(map(moved, ledger.planned)),
        hour_requests=HOUR.set_back(ledger.hour_requests, micros),
        day_requests=DAY.set_back(ledger.day_requests, micros),
        hour_bytes=HOUR.set_back(ledger.hour_bytes, micros),
        batch_latest=moved(ledger.batch_latest),
        viewed_slot_until=moved(ledger.viewed_slot_until),
        throttled_until=moved(ledger.throttled_until),
        breaker=breaker and replace(breaker, probe_at=moved(breaker.probe_at)),
    )
