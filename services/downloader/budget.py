"""How many requests may go to a feed's origin, and at which moment each? One ledger a feed answers for all workers.

Each granted request has its own planned moment, so one ledger operation serves a batch. `now` is the store's clock:
workers whose clocks differ by seconds could not keep a limit of one second. Times inside are whole microseconds, which
JSON and BSON keep exactly.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import TypedDict, cast

from shared.domain.failures import POLICIES, Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
HOUR_BUCKET = 60 * SECOND
DAY_BUCKET = 900 * SECOND

LATEST_START = timedelta(milliseconds=50)
"""A request that missed its moment by more than this is not sent but planned anew."""
JITTER = SECOND * 8 // 100
"""A second is counted as 1.08 s: LATEST_START, and 30 ms for the network's and the clocks' unevenness."""
LONG_SLACK = 5 * SECOND
"""An hour and a day are counted this much longer: a clock set right by two seconds, a request a little late."""
CLOCK_STEP = 5 * SECOND
"""Time never goes back in a ledger, up to this step; a ledger further ahead was written by a broken clock."""

HORIZON = 1 * SECOND
"""No request is planned further ahead: a crashed worker wastes at most that, and what is frozen stays unplanned."""
VIEWED_HORIZON = 5 * SECOND
"""A person's request is planned behind what was planned before it, even at one request in two seconds."""
BUSY = SECOND // 5
"""When to ask again where all downloads that are allowed at a time are running."""
LONGEST_SLOT = 900 * SECOND

THROTTLE_BASE_SECONDS = 1.0
THROTTLE_MAX_SECONDS = 300.0
FREEZE_RANGE_SECONDS = (1.0, 86_400.0)

OPENS_AFTER: Mapping[Reason, int] = {Reason.FORBIDDEN: 10, Reason.GONE: 20, Reason.UNREACHABLE: 8}
"""So many of one kind in a row open the breaker. A listing may lose ten photos; a share that is gone has no end."""
PROBE_BASE_SECONDS = 2.0
PROBE_MAX_SECONDS = 300.0
PROBE_ASK_AGAIN_SECONDS = 5.0

_KINDS = {
    Reason.FORBIDDEN: Reason.FORBIDDEN,
    Reason.GONE: Reason.GONE,
    Reason.UNREACHABLE: Reason.UNREACHABLE,
    Reason.TIMEOUT: Reason.UNREACHABLE,
}
_SAYS_NOTHING_OF_THE_ORIGIN = {Reason.BAD_URL, Reason.REFUSED_HOST, Reason.REFUSED_ADDRESS}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Tally = tuple[tuple[int, int], ...]
"""(number of the bucket, amount), oldest first."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One running download; free again at `until`, should its worker die."""

    id: str
    until: int


class BreakerDocument(TypedDict):
    """A breaker as it is stored."""

    reason: str
    wait_seconds: float
    probe_at: int
    probe: str


class LedgerDocument(TypedDict, total=False):
    """A ledger as it is stored; what an older program did not write is as in an empty one."""

    seen: int
    slots: list[tuple[str, int]]
    sends: list[int]
    hour: list[tuple[int, int]]
    day: list[tuple[int, int]]
    received: list[tuple[int, int]]
    batch: int
    batch_last: int
    frozen_until: int
    frozen_reason: str
    throttled: int
    run: int
    run_of: str | None
    breaker: BreakerDocument | None


@dataclass(frozen=True, slots=True)
class Breaker:
    """The origin is unwell: nothing is granted but one probe at a time, the next at `probe_at`."""

    reason: Reason
    wait_seconds: float
    probe_at: int
    probe: str = ""
    """The slot of the probe that is on its way."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What all workers together have taken from one origin. Times in microseconds since 1970."""

    seen: int = 0
    """The latest time at which the ledger was used."""
    slots: tuple[Slot, ...] = ()
    sends: tuple[int, ...] = ()
    """The planned moments, in order, of the last second and of what is to come."""
    hour: Tally = ()
    day: Tally = ()
    received: Tally = ()
    """Bytes of the last hour."""
    batch: int = 0
    """Requests since the last pause."""
    batch_last: int = 0
    frozen_until: int = 0
    frozen_reason: str = ""
    throttled: int = 0
    """Freezes in a row for which the origin named no time."""
    run: int = 0
    run_of: Reason | None = None
    breaker: Breaker | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """One request that may be sent at `at` (the store's clock), not before and at most LATEST_START after."""

    slot: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """The requests granted, and when to ask for the rest; `earliest` is null where all were granted."""

    sends: tuple[Send, ...] = ()
    earliest: datetime | None = None

    @property
    def granted(self) -> int:
        """How many downloads may start."""
        return len(self.sends)


@dataclass(frozen=True, slots=True)
class Done:
    """How one granted download ended.

    `sent_at` is null where it says nothing of the origin; `unused` are planned moments at which nothing was sent.
    """

    slot: str
    sent_at: datetime | None
    failure: Failure | None = None
    received: int = 0
    unused: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """What a feed may still take now, for status pages; null where there is no limit."""

    downloads: int
    second: int | None
    hour: int | None
    day: int | None
    bytes_hour: int | None
    closed_until: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Limits:
    """The feed's numbers as they hold for one priority."""

    downloads: int
    batch: int
    pause: int
    step: int
    per_window: int
    window: int
    hour: int
    day: int
    received: int
    horizon: int


def take(
    ledger: Ledger, feed: Feed, wanted: int, priority: Priority, now: datetime, *, holder: str, slot_seconds: float
) -> tuple[Ledger, Grant]:
    """Grant up to `wanted` downloads, at most a batch, each with a slot and a planned request.

    `holder` names this grant uniquely. A grant of nothing leaves nothing worth storing.
    """
    ledger = advance(ledger, feed, now)
    if (closed_until := _closed_until(ledger)) is not None:
        return ledger, Grant((), _datetime(closed_until))
    limits = _limits(feed, priority)
    free = max(0, limits.downloads - len(ledger.slots))
    most = min(wanted, 1 if ledger.breaker else feed.batch_size, free)
    sends: list[Send] = []
    while len(sends) < most and (at := _next_send(ledger, limits)) <= ledger.seen + limits.horizon:
        send = Send(f"{holder}-{len(sends)}", _datetime(at))
        ledger = _with_slot(_with_send(ledger, limits, at), send.slot, at + round(slot_seconds * SECOND))
        sends.append(send)
    rest = _when_to_ask(ledger, limits) if len(sends) < wanted else None
    return _with_probe(ledger, sends), Grant(tuple(sends), rest)


def take_request(
    ledger: Ledger,
    feed: Feed,
    slot: str,
    priority: Priority,
    now: datetime,
    *,
    slot_seconds: float,
    unused: datetime | None = None,
) -> tuple[Ledger, Grant]:
    """Grant one more request to a running download: a redirect's, or in place of an `unused` one that came too late.

    It heeds the rates and a freeze, not the batch pause, and may be planned further ahead: the download has begun.
    """
    ledger = _without_sends(advance(ledger, feed, now), (unused,) if unused else ())
    if ledger.frozen_until > ledger.seen:
        return ledger, Grant((), _datetime(ledger.frozen_until))
    limits = replace(_limits(feed, priority), batch=0, horizon=VIEWED_HORIZON)
    at = _next_send(ledger, limits)
    if at > ledger.seen + limits.horizon:
        return ledger, Grant((), _datetime(at - limits.horizon))
    ledger = _without_slots(_with_send(ledger, limits, at), {slot})
    return _with_slot(ledger, slot, at + round(slot_seconds * SECOND)), Grant((Send(slot, _datetime(at)),))


def give_back(ledger: Ledger, feed: Feed, done: Sequence[Done], now: datetime) -> Ledger:
    """Account for downloads in the order in which they ended: slots, bytes, unused requests, the breaker."""
    ledger = advance(ledger, feed, now)
    ledger = _without_sends(ledger, [at for one in done for at in one.unused])
    received = _added(ledger.received, HOUR_BUCKET, ledger.seen, sum(one.received for one in done))
    ledger = replace(ledger, received=received)
    for one in done:
        ledger = _judged(ledger, one)
    return _without_slots(ledger, {one.slot for one in done})


def freeze(ledger: Ledger, feed: Feed, failure: Failure, sent_at: datetime, now: datetime, *, jitter: float) -> Ledger:
    """Silence the feed as the origin asks, or for 1, 2, 4 … 300 s where a 429 names no time; `jitter` is in [0, 1].

    Answers to requests sent before an earlier freeze ended belong to that one: only a named time makes it longer.
    """
    ledger = advance(ledger, feed, now)
    belongs = _micros(sent_at) < ledger.frozen_until
    if failure.wait_seconds is None and (belongs or failure.reason is not Reason.THROTTLED):
        return ledger
    throttled = ledger.throttled if belongs or failure.wait_seconds is not None else ledger.throttled + 1
    seconds = _freeze_seconds(failure, throttled, jitter)
    until = ledger.seen + ceil(seconds * SECOND)
    if until <= ledger.frozen_until:
        return ledger
    reason = f"{POLICIES[failure.reason].meaning}: silent for {seconds:.0f} s"
    return replace(ledger, frozen_until=until, frozen_reason=reason, throttled=throttled)


def frozen_until(ledger: Ledger) -> datetime:
    """Until when no request may be sent, planned or not; a time in the past where the feed is not frozen."""
    return _datetime(ledger.frozen_until)


def budget_left(ledger: Ledger, feed: Feed, now: datetime) -> Left:
    """What a person's request would still find, and why the feed stands still if it does."""
    ledger = advance(ledger, feed, now)
    limits = _limits(feed, Priority.VIEWED)
    recent = len(ledger.sends) - bisect_right(ledger.sends, ledger.seen - limits.window)
    closed_until = _closed_until(ledger)
    return Left(
        downloads=max(0, limits.downloads - len(ledger.slots)),
        second=max(0, limits.per_window - recent) if limits.per_window else None,
        hour=_left(limits.hour, ledger.hour),
        day=_left(limits.day, ledger.day),
        bytes_hour=_left(limits.received, ledger.received),
        closed_until=None if closed_until is None else _datetime(closed_until),
        reason=_reason(ledger),
    )


def to_document(ledger: Ledger) -> LedgerDocument:
    """The ledger as JSON and BSON can keep it."""
    breaker = ledger.breaker
    return {
        "seen": ledger.seen,
        "slots": [(slot.id, slot.until) for slot in ledger.slots],
        "sends": list(ledger.sends),
        "hour": list(ledger.hour),
        "day": list(ledger.day),
        "received": list(ledger.received),
        "batch": ledger.batch,
        "batch_last": ledger.batch_last,
        "frozen_until": ledger.frozen_until,
        "frozen_reason": ledger.frozen_reason,
        "throttled": ledger.throttled,
        "run": ledger.run,
        "run_of": ledger.run_of and ledger.run_of.value,
        "breaker": _breaker_document(breaker) if breaker else None,
    }


def from_document(stored: Mapping[str, object]) -> Ledger:
    """The ledger that `to_document` wrote; an empty document is an empty ledger."""
    document = cast("LedgerDocument", stored)
    breaker = document.get("breaker")
    run_of = document.get("run_of")
    return Ledger(
        seen=document.get("seen", 0),
        slots=tuple(Slot(name, until) for name, until in document.get("slots", ())),
        sends=tuple(document.get("sends", ())),
        hour=_tally(document.get("hour", [])),
        day=_tally(document.get("day", [])),
        received=_tally(document.get("received", [])),
        batch=document.get("batch", 0),
        batch_last=document.get("batch_last", 0),
        frozen_until=document.get("frozen_until", 0),
        frozen_reason=document.get("frozen_reason", ""),
        throttled=document.get("throttled", 0),
        run=document.get("run", 0),
        run_of=Reason(run_of) if run_of else None,
        breaker=_breaker(breaker) if breaker else None,
    )


def advance(ledger: Ledger, feed: Feed, now: datetime) -> Ledger:
    """Bring the ledger to `now`: what left its window is dropped, slots of the dead come back."""
    seen = _micros(now)
    if seen < ledger.seen <= seen + CLOCK_STEP:
        seen = ledger.seen
    lost = [slot for slot in ledger.slots if not seen < slot.until <= seen + LONGEST_SLOT]
    window = _limits(feed, Priority.VIEWED).window
    hour, received = _recent(ledger.hour, HOUR_BUCKET, HOUR, seen), _recent(ledger.received, HOUR_BUCKET, HOUR, seen)
    return replace(
        ledger,
        seen=seen,
        slots=tuple(slot for slot in ledger.slots if slot not in lost),
        sends=tuple(at for at in ledger.sends if abs(at - seen) < window + VIEWED_HORIZON and at > seen - window),
        hour=hour,
        day=_recent(ledger.day, DAY_BUCKET, DAY, seen),
        received=_added(received, HOUR_BUCKET, seen, len(lost) * _mean_file(hour, received)),
        batch_last=min(ledger.batch_last, seen + HORIZON),
        frozen_until=min(ledger.frozen_until, seen + DAY),
    )


def _limits(feed: Feed, priority: Priority) -> _Limits:
    viewed = priority is Priority.VIEWED
    share = 1.0 if viewed else 1.0 - feed.viewed_reserve
    downloads = _share(feed.concurrency, share)
    per_window = _share(max(1, floor(feed.requests_per_second)), share) if feed.requests_per_second else 0
    window = _second(feed.requests_per_second)
    batch = 0 if viewed else min(feed.batch_size, downloads)
    pause = round(feed.batch_pause_seconds * SECOND)
    return _Limits(
        downloads=downloads,
        batch=batch,
        pause=pause,
        step=_step(batch, pause, window, per_window),
        per_window=per_window,
        window=window,
        hour=_share(feed.requests_per_hour, share),
        day=_share(feed.requests_per_day, share),
        received=_share(feed.bytes_per_hour, share),
        horizon=VIEWED_HORIZON if viewed else HORIZON,
    )


def _share(limit: int, share: float) -> int:
    """What one priority may use of a limit; never nothing, or routine work would starve behind a limit of one."""
    return max(1, floor(limit * share + 1e-9)) if limit else 0


def _second(rate: float) -> int:
    """How long a window is counted: a second, or as long as one request takes at a rate below one."""
    return ceil(SECOND / min(rate, 1.0)) + JITTER if rate else 0


def _step(batch: int, pause: int, window: int, per_window: int) -> int:
    """The distance between requests of a batch: it fills the time that the rate needs and the pause does not use.

    Without a pause the flow is even; with one that is long enough the batch goes out at once.
    """
    if not batch or not per_window:
        return 0
    return ceil(max(0.0, batch * window / per_window - pause) / batch)


def _next_send(ledger: Ledger, limits: _Limits) -> int:
    """The earliest moment at which one more request breaks no rule."""
    at = max(
        ledger.seen,
        _below(ledger.hour, HOUR_BUCKET, HOUR, limits.hour),
        _below(ledger.day, DAY_BUCKET, DAY, limits.day),
        _below(ledger.received, HOUR_BUCKET, HOUR, limits.received),
    )
    if limits.batch:
        full = ledger.batch >= limits.batch
        at = max(at, ledger.batch_last + limits.step + (limits.pause if full else 0))
    return _gap(ledger.sends, at, limits.per_window, limits.window)


def _gap(sends: tuple[int, ...], at: int, limit: int, window: int) -> int:
    """The earliest moment from `at` on that makes no window hold more than `limit`, looking both ways."""
    if not limit:
        return at
    for first, last in zip(sends, sends[limit - 1 :], strict=False):
        if last - first < window and last - window < at < first + window:
            at = first + window
    return at


def _below(tally: Tally, width: int, window: int, limit: int) -> int:
    """From when on the window holds less than `limit`; a bucket counts until its very end has left the window."""
    total, at = sum(amount for _, amount in tally), 0
    for bucket, amount in tally:
        if not limit or total < limit:
            break
        total, at = total - amount, _leaves(bucket, width, window)
    return at


def _leaves(bucket: int, width: int, window: int) -> int:
    return (bucket + 1) * width + window + LONG_SLACK


def _recent(tally: Tally, width: int, window: int, seen: int) -> Tally:
    return tuple(one for one in tally if one[0] * width - window < seen < _leaves(one[0], width, window))


def _added(tally: Tally, width: int, at: int, amount: int) -> Tally:
    counts = dict(tally)
    counts[at // width] = max(0, counts.get(at // width, 0) + amount)
    return tuple(sorted((bucket, count) for bucket, count in counts.items() if count))


def _breaker_document(breaker: Breaker) -> BreakerDocument:
    return {
        "reason": breaker.reason.value,
        "wait_seconds": breaker.wait_seconds,
        "probe_at": breaker.probe_at,
        "probe": breaker.probe,
    }


def _breaker(stored: BreakerDocument) -> Breaker:
    return Breaker(Reason(stored["reason"]), stored["wait_seconds"], stored["probe_at"], stored["probe"])


def _tally(stored: Sequence[Sequence[int]]) -> Tally:
    return tuple((bucket, amount) for bucket, amount in stored)


def _left(limit: int, tally: Tally) -> int | None:
    return max(0, limit - sum(amount for _, amount in tally)) if limit else None


def _mean_file(hour: Tally, received: Tally) -> int:
    """What a dead worker's download is taken to have received: nobody is left to tell."""
    return sum(amount for _, amount in received) // max(1, sum(amount for _, amount in hour))


def _with_send(ledger: Ledger, limits: _Limits, at: int) -> Ledger:
    batch, last = ledger.batch, ledger.batch_last
    if limits.batch:
        batch, last = (1 if at >= last + limits.pause else batch + 1), at
    return replace(
        ledger,
        sends=tuple(sorted((*ledger.sends, at))) if limits.per_window else (),
        hour=_added(ledger.hour, HOUR_BUCKET, at, 1),
        day=_added(ledger.day, DAY_BUCKET, at, 1),
        batch=batch,
        batch_last=last,
    )


def _without_sends(ledger: Ledger, unused: Sequence[datetime]) -> Ledger:
    """Take back planned requests that were never sent."""
    sends, hour, day = list(ledger.sends), ledger.hour, ledger.day
    for at in map(_micros, unused):
        if at in sends:
            sends.remove(at)
        hour, day = _added(hour, HOUR_BUCKET, at, -1), _added(day, DAY_BUCKET, at, -1)
    return replace(ledger, sends=tuple(sends), hour=hour, day=day)


def _with_slot(ledger: Ledger, slot: str, until: int) -> Ledger:
    return replace(ledger, slots=(*ledger.slots, Slot(slot, until)))


def _with_probe(ledger: Ledger, sends: Sequence[Send]) -> Ledger:
    if ledger.breaker is None or not sends:
        return ledger
    return replace(ledger, breaker=replace(ledger.breaker, probe=sends[0].slot))


def _without_slots(ledger: Ledger, ids: set[str]) -> Ledger:
    return replace(ledger, slots=tuple(slot for slot in ledger.slots if slot.id not in ids))


def _when_to_ask(ledger: Ledger, limits: _Limits) -> datetime:
    """When asking again makes sense."""
    at = max(ledger.seen, _next_send(ledger, limits) - limits.horizon)
    if ledger.breaker:
        at = max(at, ledger.seen + _probe_patience(ledger.breaker))
    elif len(ledger.slots) >= limits.downloads:
        at = max(at, ledger.seen + BUSY)
    return _datetime(at)


def _closed_until(ledger: Ledger) -> int | None:
    """Until when nobody is granted anything; null where the feed is open, if only for one probe."""
    if ledger.frozen_until > ledger.seen:
        return ledger.frozen_until
    if (breaker := ledger.breaker) is None:
        return None
    if any(slot.id == breaker.probe for slot in ledger.slots):
        return ledger.seen + _probe_patience(breaker)
    return breaker.probe_at if breaker.probe_at > ledger.seen else None


def _probe_patience(breaker: Breaker) -> int:
    return round(min(breaker.wait_seconds, PROBE_ASK_AGAIN_SECONDS) * SECOND)


def _judged(ledger: Ledger, done: Done) -> Ledger:
    """What the end of one download says of the origin's health."""
    failure = done.failure
    if done.sent_at is None or (failure and failure.reason in _SAYS_NOTHING_OF_THE_ORIGIN):
        return ledger
    kind = _KINDS.get(failure.reason) if failure else None
    if failure is None and _micros(done.sent_at) >= ledger.frozen_until:
        ledger = replace(ledger, throttled=0)
    if (breaker := ledger.breaker) is None or kind is not breaker.reason:
        run = ledger.run + 1 if kind is ledger.run_of else 1
        return _opened(replace(ledger, breaker=None, run_of=kind, run=run if kind else 0))
    if breaker.probe == done.slot:
        return replace(ledger, breaker=_longer(breaker, ledger.seen))
    return ledger


def _opened(ledger: Ledger) -> Ledger:
    """Open the breaker where the run is long enough."""
    reason = ledger.run_of
    if reason is None or ledger.run < OPENS_AFTER[reason]:
        return ledger
    probe_at = ledger.seen + round(PROBE_BASE_SECONDS * SECOND)
    return replace(ledger, breaker=Breaker(reason, PROBE_BASE_SECONDS, probe_at))


def _longer(breaker: Breaker, seen: int) -> Breaker:
    wait = min(2 * breaker.wait_seconds, PROBE_MAX_SECONDS)
    return replace(breaker, wait_seconds=wait, probe_at=seen + round(wait * SECOND), probe="")


def _freeze_seconds(failure: Failure, throttled: int, jitter: float) -> float:
    low, high = FREEZE_RANGE_SECONDS
    if failure.wait_seconds is not None:
        return min(max(low, failure.wait_seconds), high)
    # 2.0 ** 20 is beyond the cap already; the bound keeps a very long run from overflowing.
    wait: float = min(THROTTLE_BASE_SECONDS * 2.0 ** min(throttled - 1, 20), THROTTLE_MAX_SECONDS)
    return wait * (1 + jitter / 4)


def _reason(ledger: Ledger) -> str:
    if ledger.frozen_until > ledger.seen:
        return ledger.frozen_reason
    if ledger.breaker is None:
        return ""
    return (
        f"{ledger.run} downloads in a row failed: {POLICIES[ledger.breaker.reason].meaning}; a probe tests the origin"
    )


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _datetime(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
