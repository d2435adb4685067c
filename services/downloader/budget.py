"""How many requests may go to a feed's origin, and at which moment each? One ledger a feed answers for all workers.

Each granted request has its own planned moment, so one ledger operation serves a batch. `now` is the store's clock:
workers whose clocks differ by seconds could not keep a limit of one second. Times inside are whole microseconds since
1970, which JSON and BSON keep exactly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import Any

from shared.domain.failures import POLICIES, Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority

SECOND = 1_000_000

LATE = 40_000
"""A paced request that missed its moment by more is not sent but planned anew."""
LATE_UNPACED = 2 * SECOND
"""The same where only hours and days are counted, and they with LONG_SLACK."""
MARGIN = 2 * LATE
"""A second is counted as 1.08 s: one request may be LATE, the network and the clocks have as much again."""
LONG_SLACK = 5 * SECOND
"""An hour and a day are counted this much longer."""
LEAD = 40_000
"""Between a grant and its first paced request: the time that claiming the photos takes."""
CLOCK_STEP = 5 * SECOND
"""Readings of the store's clock may differ by less; one that is further behind means that the clock was set back."""

HORIZON = SECOND
"""No routine request is planned further ahead: a crashed worker wastes at most that, and a freeze undoes little."""
HORIZON_SLOW = 100_000
"""The same where a window holds one request: a person's request is planned behind what was planned before it."""
HORIZON_VIEWED = 5 * SECOND
LONGEST_PAUSE_VIEWED = 1.0
"""Seconds. A longer pause between batches is not heeded for a viewed image: the contract serves one within 3 s."""
BUSY = 200_000
"""When to ask again where all downloads that are allowed at a time are running."""
BUSY_VIEWED = 50_000
KEPT_FOR_VIEWED = 500_000
"""A slot that comes back is kept this long for a viewed image that asked in vain; it asks again sooner."""

THROTTLE_SECONDS = (1.0, 300.0)
"""The first and the longest freeze after a 429 that names no time."""
FREEZE_RANGE_SECONDS = (1.0, 86_400.0)
CALM = 10 * SECOND
"""A download that succeeds so long after a freeze ends the doubling; right behind one, any origin lets some pass."""

OPENS_AFTER: Mapping[Reason, int] = {Reason.FORBIDDEN: 10, Reason.GONE: 40, Reason.UNREACHABLE: 8}
"""So many images that fail alike in a row open the breaker. A listing may lose all its photos; a share that is gone has
no end."""
PROBE_SECONDS = (2.0, 30.0)
"""The first and the longest wait between probes."""
PROBE_ASK_AGAIN_SECONDS = 5.0
PROBE_YIELDS = 3 * SECOND
"""So much later images that failed before may probe: others that wait are there by then, from the topic too."""
HALT_ASK_AGAIN = 10 * SECOND
"""When to ask again where an operator froze the feed: nobody knows when it is thawed."""

_KINDS = {
    Reason.FORBIDDEN: Reason.FORBIDDEN,
    Reason.GONE: Reason.GONE,
    Reason.UNREACHABLE: Reason.UNREACHABLE,
    Reason.TIMEOUT: Reason.UNREACHABLE,
}
_OUR_OWN = {Reason.BAD_URL, Reason.REFUSED_HOST, Reason.REFUSED_ADDRESS}
"""Refused before anything was sent: nothing was learned of the origin."""
_UNWELL = {Reason.THROTTLED, Reason.ORIGIN_ERROR, Reason.UNREACHABLE, Reason.TIMEOUT}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Tally = tuple[tuple[int, int], ...]
"""(number of the bucket, amount), oldest first."""


@dataclass(frozen=True, slots=True)
class Span:
    """A long window, counted in buckets: a ledger stays small, and at most one bucket's width is lost."""

    length: int
    width: int

    def leaves(self, bucket: int) -> int:
        """When the very end of the bucket has left the window."""
        return (bucket + 1) * self.width + self.length + LONG_SLACK


HOUR = Span(3_600 * SECOND, 60 * SECOND)
DAY = Span(86_400 * SECOND, 900 * SECOND)


@dataclass(frozen=True, slots=True)
class Breaker:
    """The origin is unwell: nothing is granted but one probe at a time, the next at `probe_at`."""

    reason: Reason
    wait_seconds: float
    probe_at: int
    probe: str = ""
    """The slot of the probe that is on its way."""


@dataclass(frozen=True, slots=True)
class Halt:
    """An operator froze the feed: nothing is granted, nor sent, until `until` (0: until it is thawed)."""

    since: int
    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What all workers together have taken from one origin."""

    seen: int = 0
    """The latest time at which the ledger was used."""
    slots: Mapping[str, int] = field(default_factory=dict)
    """The running downloads, and when each slot is free again should its worker die."""
    sends: tuple[int, ...] = ()
    """The planned moments, in order, of the last second and of what is to come."""
    hour: Tally = ()
    day: Tally = ()
    received: Tally = ()
    """Bytes of the last hour."""
    batch: int = 0
    """Requests since the last pause."""
    batch_last: int = 0
    viewed_until: int = 0
    """Until when a slot is kept free for a viewed image that found none."""
    frozen_until: int = 0
    throttled: int = 0
    """Freezes in a row for which the origin named no time."""
    run_images: tuple[str, ...] = ()
    """The images that failed alike in a row, each once: one that is broken is tried again and again."""
    run_of: Reason | None = None
    breaker: Breaker | None = None
    reason: str = ""
    """Why the feed is frozen or its breaker open, for operators."""
    halt: Halt | None = None
    """Written by `imagectl freeze`, taken away by `imagectl thaw`."""


@dataclass(frozen=True, slots=True)
class Send:
    """One request that may be sent at `at` (the store's clock), not before and not much after: see `is_in_time`."""

    slot: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """The requests granted, and when to ask for the rest; `earliest` is null where all were granted."""

    sends: tuple[Send, ...] = ()
    earliest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """How one granted download ended.

    `sent_at` is null where it says nothing of the origin; `unused` are planned moments at which nothing was sent.
    """

    slot: str
    image_id: str
    sent_at: datetime | None
    failure: Failure | None = None
    received: int = 0
    unused: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """The feed's numbers as they hold for one priority; 0 is no limit."""

    downloads: int
    per_window: int
    window: int
    hour: int
    day: int
    received: int
    horizon: int
    batch: int = 0
    step: int = 0
    pause: int = 0


def take(
    ledger: Ledger,
    feed: Feed,
    wanted: int,
    priority: Priority,
    now: datetime,
    *,
    holder: str,
    slot_seconds: float,
    failed_before: bool = False,
) -> tuple[Ledger | None, Grant]:
    """Grant up to `wanted` downloads, at most a batch, each with a slot and a planned request.

    Routine work gets all that one horizon holds, or is told when to come for it: many who ask would else get one
    request each, at one write each. `holder` names this grant uniquely; `failed_before` says that all that is wanted
    did, and is not what an unwell origin should be probed with. The ledger returned is null where there is nothing to
    store.
    """
    ledger, refused = _asked(ledger, feed, now)
    if (closed_until := _closed_until(ledger)) is not None:
        return refused, Grant((), _datetime(closed_until))
    if ledger.breaker and failed_before and ledger.seen < (yields_until := ledger.breaker.probe_at + PROBE_YIELDS):
        return refused, Grant((), _datetime(yields_until))
    limits, viewed = limits_of(feed, priority), priority is Priority.VIEWED
    kept = int(not viewed and ledger.seen < ledger.viewed_until)
    free = min(limits.downloads, feed.concurrency - kept) - len(ledger.slots)
    if free <= 0:
        stored = _kept_for_viewed(ledger) if viewed else None
        return stored or refused, Grant((), _datetime(ledger.seen + (BUSY_VIEWED if viewed else BUSY)))

    most = min(wanted, 1 if ledger.breaker else feed.batch_size, free)
    first = _next_send(ledger, limits)
    latest = ledger.seen + limits.horizon if viewed else first + limits.horizon - LEAD
    taken, moments = ledger, list[int]()
    while len(moments) < most and (at := _next_send(taken, limits)) <= latest:
        taken = _with_slot(_with_send(taken, limits, at), f"{holder}-{len(moments)}", at, slot_seconds)
        moments.append(at)
    last = moments[-1] if moments else first
    if last > ledger.seen + limits.horizon:
        return refused, Grant((), _datetime(last - limits.horizon))

    sends = tuple(Send(f"{holder}-{number}", _datetime(at)) for number, at in enumerate(moments))
    rest = None if len(sends) == wanted else max(ledger.seen, _next_send(taken, limits) - limits.horizon)
    if (breaker := taken.breaker) is not None:
        taken = replace(taken, breaker=replace(breaker, probe=sends[0].slot))
        rest = rest and ledger.seen + _patience(breaker)
    elif rest and len(sends) == free:
        rest = max(rest, ledger.seen + BUSY)
    if viewed:
        taken = replace(taken, viewed_until=0)
    return taken, Grant(sends, None if rest is None else _datetime(rest))


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
    """Grant one more request to a running download: a redirect's, or in place of an `unused` one that came too late.

    It heeds the rates, a freeze and the breaker, not the pause, and may be planned further ahead: the download has
    begun. One whose slot expired is refused where no other is free.
    """
    ledger, refused = _asked(ledger, feed, now)
    if unused:
        ledger = _without_sends(ledger, (unused,))
    if (until := barred_until(ledger, slot, now)) is not None:
        return refused, Grant((), until)
    limits = replace(limits_of(feed, priority), batch=0, horizon=HORIZON_VIEWED)
    if slot not in ledger.slots and len(ledger.slots) >= feed.concurrency:
        return refused, Grant((), _datetime(ledger.seen + BUSY))
    at = _next_send(ledger, limits)
    if at > ledger.seen + limits.horizon:
        return refused, Grant((), _datetime(at - limits.horizon))
    return _with_slot(_with_send(ledger, limits, at), slot, at, slot_seconds), Grant((Send(slot, _datetime(at)),))


def give_back(ledger: Ledger, feed: Feed, done: Sequence[Done], now: datetime, *, jitter: float) -> Ledger:
    """Account for downloads in the order in which they ended: slots, bytes, unused requests, freezes, the breaker.

    The same again changes no slot, byte or request. `jitter` is in [0, 1].
    """
    ledger = advance(ledger, feed, now)
    for one in done:
        if one.slot in ledger.slots:  # else it was accounted for, or expired and was taken for lost
            slots = {slot: until for slot, until in ledger.slots.items() if slot != one.slot}
            received = _added(ledger.received, HOUR, ledger.seen, one.received)
            ledger = replace(_without_sends(ledger, one.unused), slots=slots, received=received)
        ledger = _judged(ledger, one, jitter)
    return ledger


def taken_over(ledger: Ledger, worker: str, life: str, now: datetime) -> Ledger:
    """Let the slots that a worker took before this life of it expire now: its connections died with it.

    Slots are told by their names, which begin with the worker's and then its life's.
    """
    mine, alive, seen = f"{worker}-", f"{worker}-{life}-", _micros(now)
    dead = {slot for slot in ledger.slots if slot.startswith(mine) and not slot.startswith(alive)}
    if not dead:
        return ledger
    slots = {slot: min(until, seen) if slot in dead else until for slot, until in ledger.slots.items()}
    return replace(ledger, slots=slots)


def barred_until(ledger: Ledger, slot: str, now: datetime) -> datetime | None:
    """Until when a request must not go although it was granted: the feed was silenced since. Null where it may."""
    seen = _micros(now)
    if (halted_until := _halted_until(ledger.halt, seen)) is not None:
        return _datetime(halted_until)
    if ledger.frozen_until > seen:
        return _datetime(ledger.frozen_until)
    if ledger.breaker and ledger.breaker.probe != slot:
        return _datetime(max(ledger.breaker.probe_at, seen + SECOND))
    return None


def is_in_time(feed: Feed, at: datetime, now: datetime) -> bool:
    """Whether a request planned for `at` may go now. A little early is the clocks' doing."""
    late = LATE if _is_paced(feed) else LATE_UNPACED
    return -LATE // 4 <= _micros(now) - _micros(at) <= late


def advance(ledger: Ledger, feed: Feed, now: datetime) -> Ledger:
    """Bring the ledger to `now`: what left its window is dropped, slots of the dead come back."""
    if ledger.seen > _micros(now) + CLOCK_STEP:
        ledger = _set_back(ledger, ledger.seen - _micros(now))
    seen = max(ledger.seen, _micros(now))
    window = limits_of(feed, Priority.VIEWED).window
    received = ledger.received
    for until in ledger.slots.values():
        if until <= seen:  # nobody is left to tell what the dead received: as much as they may have
            received = _added(received, HOUR, until, feed.max_file_bytes)
    return replace(
        ledger,
        seen=seen,
        slots={slot: until for slot, until in ledger.slots.items() if until > seen},
        sends=tuple(at for at in ledger.sends if at > seen - window),
        hour=_recent(ledger.hour, HOUR, seen),
        day=_recent(ledger.day, DAY, seen),
        received=_recent(received, HOUR, seen) if feed.bytes_per_hour else (),
        halt=None if _halted_until(ledger.halt, seen) is None else ledger.halt,
    )


def limits_of(feed: Feed, priority: Priority) -> Limits:
    """The feed's numbers for one priority: viewed images alone may use all of each, and need not heed a long pause."""
    viewed = priority is Priority.VIEWED
    share = 1.0 if viewed else 1.0 - feed.viewed_reserve
    rate = feed.requests_per_second
    # At a rate below one, the window is as long as one request takes.
    window = ceil(SECOND / min(rate, 1.0)) + MARGIN if rate else 0
    per_window = _share(max(1, floor(rate)), share) if rate else 0
    horizon = HORIZON_VIEWED if viewed else HORIZON_SLOW if per_window == 1 else HORIZON
    limits = Limits(
        downloads=_share(feed.concurrency, share),
        per_window=per_window,
        window=window,
        hour=_share(feed.requests_per_hour, share),
        day=_share(feed.requests_per_day, share),
        received=_share(feed.bytes_per_hour, share),
        horizon=horizon,
    )
    if not viewed:
        return _in_batches(limits, feed)
    heeded = feed.batch_pause_seconds if feed.batch_pause_seconds <= LONGEST_PAUSE_VIEWED else 0.0
    return replace(limits, batch=feed.batch_size, pause=_pause(heeded)) if heeded else limits


def to_document(ledger: Ledger) -> dict[str, Any]:
    """The ledger as JSON and BSON can keep it."""
    return asdict(ledger)


def from_document(stored: Mapping[str, Any]) -> Ledger:
    """The ledger that `to_document` wrote; what an older program did not write is as in an empty one."""
    known = {item.name: stored[item.name] for item in fields(Ledger) if item.name in stored}
    for name in {"hour", "day", "received"} & known.keys():
        known[name] = tuple((bucket, amount) for bucket, amount in known[name])
    for name in ("sends", "run_images"):
        known[name] = tuple(known.get(name, ()))
    known["run_of"] = Reason(known["run_of"]) if known.get("run_of") else None
    if breaker := known.get("breaker"):
        known["breaker"] = Breaker(**{**breaker, "reason": Reason(breaker["reason"])})
    if halt := known.get("halt"):
        known["halt"] = Halt(**halt)
    return Ledger(**known)


def _asked(ledger: Ledger, feed: Feed, now: datetime) -> tuple[Ledger, Ledger | None]:
    """The ledger now, and what to store if nothing is granted: that the clock was set back must be known."""
    advanced = advance(ledger, feed, now)
    return advanced, advanced if advanced.seen < ledger.seen else None


def _share(limit: int, share: float) -> int:
    """What one priority may use of a limit; never nothing, or routine work would starve behind a limit of one."""
    return max(1, floor(limit * share + 1e-9)) if limit else 0


def _is_paced(feed: Feed) -> bool:
    return bool(feed.requests_per_second or feed.batch_pause_seconds)


def _in_batches(limits: Limits, feed: Feed) -> Limits:
    """Choose the batch, at most `batch_size`, and the step between its requests that use the rate best.

    Of requests in such batches, the first and the one that is `per_window` later must be a window apart. Without a
    pause, or with one that is shorter than the rate's own distance, the flow is even.
    """
    pause = _pause(feed.batch_pause_seconds)
    # As many rounds of all slots as fit: a round that is not full would make the slots wait for the pause.
    largest = feed.batch_size - feed.batch_size % min(feed.batch_size, limits.downloads)
    if not limits.per_window:
        return replace(limits, batch=largest, pause=pause)
    even = ceil(limits.window / limits.per_window)
    if pause <= even:
        return replace(limits, batch=largest, step=even, pause=even)
    best, fastest = limits, 0.0
    for batch in range(1, largest + 1):
        whole, rest = divmod(limits.per_window, batch)
        step = ceil(max(0, limits.window - whole * pause) / max(1, whole * (batch - 1) + rest))
        cycle = max((batch - 1) * step + pause, batch * even)
        if step <= pause and batch / cycle >= fastest:
            best, fastest = replace(limits, batch=batch, step=step, pause=pause), batch / cycle
    return best


def _pause(seconds: float) -> int:
    return ceil(seconds * SECOND) + LATE if seconds else 0


def _next_send(ledger: Ledger, limits: Limits) -> int:
    """The earliest moment at which one more request breaks no rule."""
    at = max(
        ledger.seen + (LEAD if limits.per_window or limits.pause else 0),
        _below(ledger.hour, HOUR, limits.hour),
        _below(ledger.day, DAY, limits.day),
        _below(ledger.received, HOUR, limits.received),
    )
    if limits.batch:
        at = max(at, ledger.batch_last + (limits.pause if ledger.batch >= limits.batch else limits.step))
    return _gap(ledger.sends, at, limits.per_window, limits.window)


def _gap(sends: Sequence[int], at: int, limit: int, window: int) -> int:
    """The earliest moment from `at` on that makes no window hold more than `limit`, looking both ways."""
    if limit:
        for first, last in zip(sends, sends[limit - 1 :], strict=False):
            if last - first < window and last - window < at < first + window:
                at = first + window
    return at


def _below(tally: Tally, span: Span, limit: int) -> int:
    """From when on the window holds less than `limit`; a bucket counts until its very end has left the window."""
    total, at = sum(amount for _, amount in tally), 0
    for bucket, amount in tally:
        if not limit or total < limit:
            break
        total, at = total - amount, span.leaves(bucket)
    return at


def _recent(tally: Tally, span: Span, seen: int) -> Tally:
    return tuple(one for one in tally if seen < span.leaves(one[0]))


def _added(tally: Tally, span: Span, at: int, amount: int) -> Tally:
    counts = dict(tally)
    counts[at // span.width] = counts.get(at // span.width, 0) + amount
    return tuple(sorted((bucket, count) for bucket, count in counts.items() if count > 0))


def _with_send(ledger: Ledger, limits: Limits, at: int) -> Ledger:
    batch, last = ledger.batch, ledger.batch_last
    if limits.batch:
        batch, last = (1 if at >= last + limits.pause else batch + 1), at
    return replace(
        ledger,
        sends=tuple(sorted((*ledger.sends, at))) if limits.per_window else (),
        hour=_added(ledger.hour, HOUR, at, 1),
        day=_added(ledger.day, DAY, at, 1),
        batch=batch,
        batch_last=last,
    )


def _without_sends(ledger: Ledger, unused: Iterable[datetime]) -> Ledger:
    """Take back planned requests that were never sent."""
    sends, hour, day = list(ledger.sends), ledger.hour, ledger.day
    for at in map(_micros, unused):
        if at in sends:
            sends.remove(at)
        hour, day = _added(hour, HOUR, at, -1), _added(day, DAY, at, -1)
    return replace(ledger, sends=tuple(sends), hour=hour, day=day)


def _with_slot(ledger: Ledger, slot: str, at: int, seconds: float) -> Ledger:
    return replace(ledger, slots={**ledger.slots, slot: at + ceil(seconds * SECOND)})


def _kept_for_viewed(ledger: Ledger) -> Ledger | None:
    """Keep the next slot that comes back; null where that is written already."""
    if ledger.viewed_until > ledger.seen + KEPT_FOR_VIEWED // 2:
        return None
    return replace(ledger, viewed_until=ledger.seen + KEPT_FOR_VIEWED)


def _set_back(ledger: Ledger, by: int) -> Ledger:
    """The store's clock was set back: go on as if no time had passed.

    An operator's freeze stays: it may have been written by the new clock, and rather lasts longer.
    """
    breaker = ledger.breaker
    return replace(
        ledger,
        seen=ledger.seen - by,
        slots={slot: until - by for slot, until in ledger.slots.items()},
        sends=tuple(at - by for at in ledger.sends),
        hour=tuple((bucket - by // HOUR.width, amount) for bucket, amount in ledger.hour),
        day=tuple((bucket - by // DAY.width, amount) for bucket, amount in ledger.day),
        received=tuple((bucket - by // HOUR.width, amount) for bucket, amount in ledger.received),
        batch_last=ledger.batch_last - by,
        viewed_until=ledger.viewed_until - by,
        frozen_until=ledger.frozen_until - by,
        breaker=breaker and replace(breaker, probe_at=breaker.probe_at - by),
    )


def _closed_until(ledger: Ledger) -> int | None:
    """Until when nobody is granted anything; null where the feed is open, if only for one probe."""
    if (halted_until := _halted_until(ledger.halt, ledger.seen)) is not None:
        return halted_until
    if ledger.frozen_until > ledger.seen:
        return ledger.frozen_until
    if (breaker := ledger.breaker) is None:
        return None
    if breaker.probe in ledger.slots:
        return ledger.seen + _patience(breaker)
    return breaker.probe_at if breaker.probe_at > ledger.seen else None


def _halted_until(halt: Halt | None, seen: int) -> int | None:
    """When to ask again; null where no operator silences the feed."""
    if halt is None or (halt.until and halt.until <= seen):
        return None
    return min(halt.until or seen + HALT_ASK_AGAIN, seen + HALT_ASK_AGAIN)


def _patience(breaker: Breaker) -> int:
    return round(min(breaker.wait_seconds, PROBE_ASK_AGAIN_SECONDS) * SECOND)


def _judged(ledger: Ledger, done: Done, jitter: float) -> Ledger:
    """What the end of one download says of the origin: silence, a step towards the breaker, or good health."""
    failure = done.failure
    if done.sent_at is None or (failure and failure.reason in _OUR_OWN):
        return ledger
    sent_at = _micros(done.sent_at)
    if failure and (failure.reason is Reason.THROTTLED or failure.wait_seconds is not None):
        ledger = _silenced(ledger, failure, sent_at, jitter)
    if failure is None and sent_at >= ledger.frozen_until + CALM:
        ledger = replace(ledger, throttled=0)
    return _probed(ledger, done) if ledger.breaker else _counted(ledger, done)


def _silenced(ledger: Ledger, failure: Failure, sent_at: int, jitter: float) -> Ledger:
    """Freeze as the origin asks, or for 1, 2, 4 … 300 s where it names no time.

    Answers to requests sent before an earlier freeze ended belong to that one: only a named time makes it longer.
    """
    if failure.wait_seconds is not None:
        seconds = min(max(FREEZE_RANGE_SECONDS[0], failure.wait_seconds), FREEZE_RANGE_SECONDS[1])
    elif sent_at < ledger.frozen_until:
        return ledger
    else:
        seconds = _doubled(THROTTLE_SECONDS, ledger.throttled) * (1 + jitter / 4)
        ledger = replace(ledger, throttled=ledger.throttled + 1)
    until = ledger.seen + ceil(seconds * SECOND)
    if until <= ledger.frozen_until:
        return ledger
    reason = f"{POLICIES[failure.reason].meaning}: silent for {seconds:.0f} s"
    return replace(ledger, frozen_until=until, reason=reason)


def _counted(ledger: Ledger, done: Done) -> Ledger:
    """Count the images that fail alike in a row, and open the breaker where the run is long enough."""
    failure = done.failure
    kind = _KINDS.get(failure.reason) if failure else None
    if kind is None:
        unwell = failure and failure.reason in _UNWELL
        return ledger if unwell or not ledger.run_images else replace(ledger, run_images=(), run_of=None)
    run = ledger.run_images if kind is ledger.run_of else ()
    if done.image_id in run:
        return ledger
    run = (*run, done.image_id)
    ledger = replace(ledger, run_images=run, run_of=kind)
    if len(run) < OPENS_AFTER[kind]:
        return ledger
    reason = f"{len(run)} images in a row failed: {POLICIES[kind].meaning}; probes test the origin"
    wait = PROBE_SECONDS[0]
    return replace(ledger, breaker=Breaker(kind, wait, ledger.seen + ceil(wait * SECOND)), reason=reason)


def _probed(ledger: Ledger, done: Done) -> Ledger:
    """Close the breaker where its probe found the origin well, else wait longer; what else ends says nothing new."""
    breaker, failure = ledger.breaker, done.failure
    if breaker is None or breaker.probe != done.slot:
        return ledger
    if failure is None or (failure.reason not in _UNWELL and _KINDS.get(failure.reason) is not breaker.reason):
        return replace(ledger, breaker=None, run_images=(), run_of=None)
    wait = min(2 * breaker.wait_seconds, PROBE_SECONDS[1])
    return replace(ledger, breaker=replace(breaker, wait_seconds=wait, probe_at=ledger.seen + ceil(wait * SECOND)))


def _doubled(span: tuple[float, float], times: int) -> float:
    doubled: float = span[0] * 2.0 ** min(times, 30)  # the bound keeps a very long run from overflowing
    return min(doubled, span[1])


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _datetime(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
