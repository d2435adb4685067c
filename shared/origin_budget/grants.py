"""How many downloads may start, and when may each send its request? Grants slots and planned times from a ledger.

Each granted request has a planned time of its own, so that one write of the ledger serves a whole batch. `now` is
always the store's time: workers whose clocks differ by seconds could not keep a limit of requests a second.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget import suspension
from shared.origin_budget.advance import advanced
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import HORIZON_VIEWED_MICROS, Limits, limits_of
from shared.origin_budget.moments import LONG_AGO, SECOND_MICROS, Moment, to_datetime, to_micros
from shared.origin_budget.pacing import LEAD_MICROS, next_time, with_planned, without_planned

_BUSY_MICROS = 200_000
"""How soon to ask again while no slot is free."""
_BUSY_VIEWED_MICROS = 50_000
"""How soon to ask again for viewed photos while no slot is free."""
_KEPT_FOR_VIEWED_MICROS = 500_000
"""For how long the next free slot is kept for a viewed photo that found none. Its worker asks again sooner."""
_PROBE_YIELDS_MICROS = 3 * SECOND_MICROS
"""How much later than other photos those that failed before may probe. Others have arrived from the topic by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A worker's request for downloads of one priority, to be granted from a feed's ledger."""

    count: int
    priority: Priority
    holder: str
    """A name that no other demand has. The name of a granted slot is the holder, a dash and a number."""
    slot_seconds: float
    """How many seconds after its planned time a download's slot expires, in case its worker dies."""
    failed_before: bool = False
    """True if all the photos failed before: they leave the probe of an open breaker to other photos for 3 s."""


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A granted request: the slot of its download, and the time at which to send it."""

    slot: str
    at: datetime
    """The planned time, by the store's clock. `pacing.is_on_time` says how far the request may deviate from it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a demand: the requests that were granted, in the order of their planned times; empty if none."""

    requests: tuple[PlannedRequest, ...] = ()
    ask_again_at: datetime | None = None
    """When to ask for the requests that were not granted; None if all were granted."""


def take(ledger: Ledger, feed: Feed, demand: Demand, now: datetime) -> tuple[Ledger | None, Grant]:
    """Grant as many of the demanded downloads as the feed's limits allow now, at most `feed.batch_size`.

    Return the ledger to store, None if there is nothing to store, and the grant. Each granted download gets a slot and
    a planned request, at most `Limits.horizon_micros` ahead.

    A demand that is not viewed gets all requests that fit into one period of `Limits.horizon_micros`. It gets none
    while the last of them would be planned further ahead than that; `ask_again_at` says until when. Otherwise many
    workers would each get a single request for each write of the ledger.
    """
    ledger, if_refused = _up_to_date(ledger, feed, now)
    if (ask_again_at := _suspended_until(ledger, demand)) is not None:
        return if_refused, _refusal(ask_again_at)
    limits, is_viewed = limits_of(feed, demand.priority), demand.priority is Priority.VIEWED
    free_slots = _free_slots(ledger, feed, limits, is_viewed)
    if free_slots <= 0:
        with_slot_reserved = _with_slot_reserved(ledger) if is_viewed else None
        busy_micros = _BUSY_VIEWED_MICROS if is_viewed else _BUSY_MICROS
        return with_slot_reserved or if_refused, _refusal(ledger.as_of + busy_micros)

    count = min(demand.count, 1 if ledger.breaker else feed.batch_size, free_slots)
    taken, times = _planned(ledger, limits, demand, count)
    last = times[-1] if times else next_time(ledger, limits)
    if last > ledger.as_of + limits.horizon_micros:
        return if_refused, _refusal(last - limits.horizon_micros)
    if len(times) < demand.count:
        ask_again_at = max(ledger.as_of, Moment(next_time(taken, limits) - limits.horizon_micros))
        if len(times) == free_slots and not ledger.breaker:
            ask_again_at = max(ask_again_at, Moment(ledger.as_of + _BUSY_MICROS))
    return _granted(taken, demand, times, ask_again_at)


def take_request(
    ledger: Ledger,
    feed: Feed,
    slot: str,
    priority: Priority,
    now: datetime,
    *,
    slot_seconds: float,
    unused: datetime | None = None,
) -> tuple[Ledger | None, Grant]:
    """Grant one more request to the running download that has `slot`: for a redirect, or for a planned time it missed.

    Return the ledger to store, None if there is nothing to store, and a grant of one request or none. `unused` is the
    missed planned time, None if none was missed; it is free for other requests if the new request is granted. The slot
    expires `slot_seconds` after the new planned time.

    The download runs already, so the request ignores the pause between batches and may be planned further ahead; the
    rates apply. None is granted while the feed is suspended, or if the slot has expired and no other is free.
    """
    ledger, if_refused = _up_to_date(ledger, feed, now)
    if unused:
        ledger = without_planned(ledger, (unused,))
    if (until := suspension.refused_until(ledger, slot, now)) is not None:
        return if_refused, Grant((), until)
    limits = replace(limits_of(feed, priority), batch_size=0, horizon_micros=HORIZON_VIEWED_MICROS)
    if slot not in ledger.slots and len(ledger.slots) >= feed.concurrency:
        return if_refused, _refusal(ledger.as_of + _BUSY_MICROS)
    at = next_time(ledger, limits)
    if at > ledger.as_of + limits.horizon_micros:
        return if_refused, _refusal(at - limits.horizon_micros)
    taken = _with_slot(with_planned(ledger, limits, at), slot, at, slot_seconds)
    return taken, Grant((PlannedRequest(slot, to_datetime(at)),))


def _up_to_date(ledger: Ledger, feed: Feed, now: datetime) -> tuple[Ledger, Ledger | None]:
    """Return the ledger as of `now`, and the ledger to store if the caller grants no request.

    The second ledger is None, because nothing needs to be stored then. But if the store's clock was set back, both are
    the same ledger.
    """
    current = advanced(ledger, feed, now)
    return current, current if current.as_of < ledger.as_of else None


def _refusal(ask_again_at: int) -> Grant:
    return Grant((), to_datetime(ask_again_at))


def _suspended_until(ledger: Ledger, demand: Demand) -> Moment | None:
    """Return when to ask again if a suspension of the feed forbids any grant for the demand; None if none does.

    If the breaker is open and its probe is due, a demand of photos that failed before waits for 3 s, so that another
    photo can be the probe.
    """
    if (ask_again_at := suspension.grants_resume_at(ledger)) is not None:
        return ask_again_at
    if ledger.breaker and demand.failed_before:
        yields_until = Moment(ledger.breaker.probe_at + _PROBE_YIELDS_MICROS)
        return yields_until if ledger.as_of < yields_until else None
    return None


def _free_slots(ledger: Ledger, feed: Feed, limits: Limits, is_viewed: bool) -> int:
    """Return how many more downloads the slots allow to start now; 0 or less if none.

    `is_viewed` is True if the downloads are of viewed photos. For other photos, a slot that is kept for a viewed photo
    does not count as free.
    """
    kept = int(not is_viewed and ledger.as_of < ledger.viewed_slot_until)
    return min(limits.downloads, feed.concurrency - kept) - len(ledger.slots)


def _planned(ledger: Ledger, limits: Limits, demand: Demand, count: int) -> tuple[Ledger, list[Moment]]:
    """Plan up to `count` requests of the demand, each at the earliest time that `limits` allow, and each with a slot.

    Return the ledger with these requests and slots, and the planned times in order, which may be fewer than `count` or
    none. Viewed requests are planned up to the horizon of `limits` from now on. Other requests are planned up to about
    the horizon after the first possible time.
    """
    if demand.priority is Priority.VIEWED:
        latest = ledger.as_of + limits.horizon_micros
    else:
        latest = next_time(ledger, limits) + limits.horizon_micros - LEAD_MICROS
    times = list[Moment]()
    while len(times) < count and (at := next_time(ledger, limits)) <= latest:
        slot = f"{demand.holder}-{len(times)}"
        ledger = _with_slot(with_planned(ledger, limits, at), slot, at, demand.slot_seconds)
        times.append(at)
    return ledger, times


def _granted(ledger: Ledger, demand: Demand, times: list[Moment], ask_again_at: Moment | None) -> tuple[Ledger, Grant]:
    """Return the ledger and the Grant after requests of the demand were planned at `times`, which must not be empty.

    `ledger` has the planned requests and their slots already. `ask_again_at` is when to ask for the requests that were
    not granted, None if all were granted. If the breaker is open, the first request becomes its probe, and
    `ask_again_at`, unless None, becomes a time at which to ask again while the probe runs. If the demand is viewed, no
    slot is kept for a viewed photo any more.
    """
    requests = tuple(PlannedRequest(f"{demand.holder}-{number}", to_datetime(at)) for number, at in enumerate(times))
    if (breaker := ledger.breaker) is not None:
        ledger = replace(ledger, breaker=replace(breaker, probe_slot=requests[0].slot))
        ask_again_at = ask_again_at and Moment(ledger.as_of + suspension.probe_retry_micros(breaker))
    if demand.priority is Priority.VIEWED:
        ledger = replace(ledger, viewed_slot_until=LONG_AGO)
    return ledger, Grant(requests, None if ask_again_at is None else to_datetime(ask_again_at))


def _with_slot(ledger: Ledger, slot: str, at: Moment, slot_seconds: float) -> Ledger:
    return replace(ledger, slots={**ledger.slots, slot: Moment(at + to_micros(slot_seconds))})


def _with_slot_reserved(ledger: Ledger) -> Ledger | None:
    """Return the ledger in which the next slot that becomes free is kept for a viewed photo, for half a second.

    The caller's demand of a viewed photo found no free slot. Return None if a slot is kept for another quarter of a
    second or longer already: nothing needs to be stored then.
    """
    if ledger.viewed_slot_until > ledger.as_of + _KEPT_FOR_VIEWED_MICROS // 2:
        return None
    return replace(ledger, viewed_slot_until=Moment(ledger.as_of + _KEPT_FOR_VIEWED_MICROS))
