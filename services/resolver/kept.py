"""What was read is kept for a moment, within a share of memory; what is asked for meanwhile is read together.

Nothing is served for longer than `Terms.seconds` after it was read, with one exception: while the database is away
nothing newer can be recorded, and what was read is served for up to half a minute.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.stores.errors import StoreUnavailable

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

HEARING_SECONDS = 1.0
"""How long an answer is kept: the contract allows 2 s from an event's arrival, recording it takes a part of them."""
DEAF_SECONDS = 0.5
"""The same while Kafka does not tell what changed."""
OUTAGE_SECONDS = 30.0
READING_SECONDS = 2.0
"""How long the database may take for one reading: what it brings may be as old as the time it took, and nothing older
may be answered. A database that takes longer hangs, and is as good as away."""
READ_SECONDS = 5.0
"""How long a reading takes at most for those who wait for it, the readings before it included."""
_MOST_AT_ONCE = 200
_MOST_BESIDE = 16
"""Beside another reading one takes half of all that is awaited, and so many at least: of two that are alike one is read
while the other is answered. What is asked for together stays together."""
_MOST_READINGS = 2
_WORTH_READING = 12
_GATHER_SECONDS = 0.003
"""Beside another reading one of fewer keys waits so long for more: one large and one tiny reading in turn, as they
come of themselves, would leave both the database and this process idle half of the time."""
_MOST_AWAITED = 4_000
"""About what is read in a second; who comes with more is better off at another replica, or a little later."""


class Overloaded(Exception):
    """More is asked for than can be read in time; what is kept is still answered."""


@dataclass(slots=True)
class Counts:
    """What is counted of one kind; plain numbers, for they are counted at every answer."""

    kind: str
    hits: int = 0
    misses: int = 0
    bytes: int = 0


class _Told(Collector):
    """Tells the counts to Prometheus."""

    def __init__(self, counts: Sequence[Counts]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """Return every count as it is now."""
        hits = CounterMetricFamily("listing_images_cache_hits", "Answered from memory", labels=["kind"])
        misses = CounterMetricFamily("listing_images_cache_misses", "Had to be read or awaited", labels=["kind"])
        size = GaugeMetricFamily("listing_images_cache_bytes", "Memory that kept answers take", labels=["kind"])
        for one in self._counts:
            hits.add_metric([one.kind], one.hits)
            misses.add_metric([one.kind], one.misses)
            size.add_metric([one.kind], one.bytes)
        return hits, misses, size


class Terms:
    """What every kind of kept value has in common: for how long, and what is counted."""

    def __init__(self, now: Callable[[], float], registry: CollectorRegistry) -> None:
        self.now = now
        self.seconds = DEAF_SECONDS  # until Kafka is heard
        self.is_failing = False
        """Whether the last reading, of whatever kind, found the database away."""
        self.failed_at = -math.inf
        self.counts: list[Counts] = []
        registry.register(_Told(self.counts))


@dataclass(slots=True)
class _Entry(Generic[Value]):
    value: Value
    groups: frozenset[Hashable]
    size: int
    read_at: float
    until: float


@dataclass(slots=True, eq=False)
class _Reading(Generic[Key, Value]):
    """Keys that are read together."""

    outcome: Mapping[Key, Value] | Exception | None = None
    """None until it has ended."""
    traceback: TracebackType | None = None
    """Of an exception where it was met: each who waits raises it anew, and would otherwise add to it."""
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    """One future for each who waits: who leaves takes no other along."""
    deadline: asyncio.TimerHandle | None = None
    is_due: bool = False
    """Whether it has waited for more keys for long enough."""
    keys: dict[Key, None] = field(default_factory=dict)
    forgotten: set[Hashable] = field(default_factory=set)
    """The groups that changed while it was on its way: what it brings of them may be from before."""


class Kept(Generic[Key, Value]):
    """Values of one kind.

    `groups` says for a key and its value what an event would have to name for it to be read anew; `size` says in bytes
    what it takes.
    """

    def __init__(
        self,
        kind: str,
        load: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]],
        groups: Callable[[Key, Value], Iterable[Hashable]],
        size: Callable[[Key, Value], int],
        most_bytes: int,
        terms: Terms,
    ) -> None:
        self._load = load
        self._groups_of = groups
        self._size_of = size
        self._most_bytes = most_bytes
        self._terms = terms
        self.counts = Counts(kind)
        terms.counts.append(self.counts)
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        self._groups: dict[Hashable, set[Key]] = {}
        self._awaited: dict[Key, _Reading[Key, Value]] = {}
        self._queue: deque[_Reading[Key, Value]] = deque()
        self._running: dict[asyncio.Task[None], _Reading[Key, Value]] = {}

    def fresh(self, key: Key) -> Value | None:
        """Return a value that need not be read, if there is one."""
        entry = self._entries.get(key)
        if entry is None or entry.until <= self._terms.now():
            return None
        self.counts.hits += 1
        return entry.value

    async def one(self, key: Key) -> Value:
        """Return the value of a key, as `get` does, in less time."""
        now, entry = self._terms.now(), self._entries.get(key)
        if entry is not None and (entry.until > now or self._is_all_there_is(key, entry, now)):
            self.counts.hits += 1
            return entry.value
        self.counts.misses += 1
        return (await self._brought(self._joined(key) or self._want(key), (key,)))[key]

    async def get(self, keys: Collection[Key]) -> dict[Key, Value]:
        """Return the value of each key. Raises StoreUnavailable, TimeoutError and Overloaded."""
        now, found, awaited = self._terms.now(), dict[Key, Value](), dict[_Reading[Key, Value], list[Key]]()
        together = len(keys)
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and (entry.until > now or self._is_all_there_is(key, entry, now)):
                found[key] = entry.value
            else:
                reading = self._joined(key)
                if reading is None:
                    reading, together = self._want(key, together), 0
                awaited.setdefault(reading, []).append(key)
        self.counts.hits += len(found)
        self.counts.misses += len(keys) - len(found)
        for reading, some in awaited.items():
            found.update(await self._brought(reading, some))
        return found

    def last(self, key: Key) -> Value | None:
        """Return what was read last, however long ago."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def forget(self, *groups: Hashable, for_good: bool) -> None:
        """Read anew what belongs to one of the groups; for good, even where the database is away."""
        for reading in self._running.values():
            reading.forgotten.update(groups)
        for key in {key for group in groups for key in self._groups.get(group, ())}:
            self._entries[key].until = 0.0
            if for_good:
                self._drop(key)

    def forget_all(self) -> None:
        """Read everything anew."""
        for reading in self._running.values():
            reading.forgotten.update(self._groups, reading.keys)
        for entry in self._entries.values():
            entry.until = 0.0

    def _is_all_there_is(self, key: Key, entry: _Entry[Value], now: float) -> bool:
        """Whether to answer with what was read before the database went away; one reading at a time tries again."""
        if not self._terms.is_failing or entry.read_at + OUTAGE_SECONDS <= now:
            return False
        if self._terms.failed_at + READING_SECONDS < now:
            return False  # nobody has looked lately: it may be back, with news that no event tells of
        if not self._running and not self._queue:
            self._want(key)
        return True

    def _joined(self, key: Key) -> _Reading[Key, Value] | None:
        """Return the reading that will bring a key, if one is not outdated already. Raises Overloaded."""
        reading = self._awaited.get(key)
        if reading is None or reading.forgotten:
            if len(self._awaited) >= _MOST_AWAITED:
                raise Overloaded
            return None
        return reading

    def _want(self, key: Key, together: int = 1) -> _Reading[Key, Value]:
        """Have a key read, with so many that are asked for together; 0 where a reading with room for it is there."""
        if together and not self._has_room(together):
            self._begin_another()
        reading = self._awaited[key] = self._queue[-1]
        reading.keys[key] = None
        if len(reading.keys) == _WORTH_READING:
            asyncio.get_running_loop().call_soon(self._read_next)
        return reading

    def _has_room(self, together: int) -> bool:
        if not self._queue:
            return False
        size = len(self._queue[-1].keys) + together
        most = min(len(self._awaited) // 2, _MOST_AT_ONCE) if self._running else _MOST_AT_ONCE
        return size <= most or size <= _MOST_BESIDE

    def _begin_another(self) -> None:
        loop = asyncio.get_running_loop()
        reading: _Reading[Key, Value] = _Reading()
        self._queue.append(reading)
        loop.call_soon(self._read_next)
        loop.call_later(_GATHER_SECONDS, self._read_due, reading)
        reading.deadline = loop.call_later(READ_SECONDS, self._end, reading, TimeoutError())

    async def _brought(self, reading: _Reading[Key, Value], keys: Collection[Key]) -> Mapping[Key, Value]:
        if reading.outcome is None:
            ended = asyncio.get_running_loop().create_future()
            reading.waiting.append(ended)
            await ended
        if isinstance(reading.outcome, StoreUnavailable):
            limit = self._terms.now() - OUTAGE_SECONDS
            kept = {key: entry for key in keys if (entry := self._entries.get(key)) and entry.read_at > limit}
            if len(kept) == len(keys):
                return {key: entry.value for key, entry in kept.items()}
        if isinstance(reading.outcome, Exception):
            raise reading.outcome.with_traceback(reading.traceback)
        assert reading.outcome is not None  # noqa: S101 - it has ended
        return {key: reading.outcome[key] for key in keys}

    def _read_next(self) -> None:
        if self._queue and len(self._running) < _MOST_READINGS and self._is_worth_it(self._queue[0]):
            reading = self._queue.popleft()
            task = asyncio.create_task(self._read(reading))
            self._running[task] = reading
            task.add_done_callback(self._running.pop)
            task.add_done_callback(lambda _: self._read_next())

    def _read_due(self, reading: _Reading[Key, Value]) -> None:
        reading.is_due = True
        self._read_next()

    def _is_worth_it(self, reading: _Reading[Key, Value]) -> bool:
        return not self._running or reading.is_due or len(reading.keys) >= _WORTH_READING

    async def _read(self, reading: _Reading[Key, Value]) -> None:
        read_at = self._terms.now()
        try:
            values = await self._load_in_time(reading.keys)
            self._terms.is_failing = False
            for key, value in values.items():
                self._keep(key, value, read_at, reading.forgotten)
            self._make_room()
            self._end(reading, values)
        except StoreUnavailable as fault:
            # Those in the queue would each wait as long, for the same end.
            self._terms.is_failing, self._terms.failed_at = True, self._terms.now()
            for one in (reading, *self._queue):
                self._end(one, fault)
            self._queue.clear()
        except Exception as fault:  # noqa: BLE001 - it is raised where it is awaited
            self._end(reading, fault)
        finally:
            self._end(reading, StoreUnavailable("the resolver is being stopped"))

    async def _load_in_time(self, keys: Collection[Key]) -> Mapping[Key, Value]:
        try:
            async with asyncio.timeout(READING_SECONDS):
                return await self._load(keys)
        except TimeoutError:
            raise StoreUnavailable(f"no answer within {READING_SECONDS:.0f} s") from None

    def _end(self, reading: _Reading[Key, Value], outcome: Mapping[Key, Value] | Exception) -> None:
        """Give those who wait for a reading what came of it first: the values, a fault, or too much time gone."""
        if reading.outcome is not None:
            return
        reading.outcome = outcome
        if isinstance(outcome, Exception):
            reading.traceback = outcome.__traceback__
        for ended in reading.waiting:
            if not ended.done():
                ended.set_result(None)
        if reading.deadline:
            reading.deadline.cancel()
        if reading in self._queue:  # its time is over before it could begin
            self._queue.remove(reading)
        for key in reading.keys:
            if self._awaited.get(key) is reading:
                del self._awaited[key]

    def _keep(self, key: Key, value: Value, read_at: float, forgotten: Set[Hashable]) -> None:
        """Keep a value that was read then, unless it has changed meanwhile or a newer one is here."""
        groups, before = frozenset(self._groups_of(key, value)), self._entries.get(key)
        if key in forgotten or not forgotten.isdisjoint(groups) or (before and before.read_at > read_at):
            return
        self._drop(key)
        entry = _Entry(value, groups, self._size_of(key, value), read_at, read_at + self._terms.seconds)
        self._entries[key] = entry
        self.counts.bytes += entry.size
        for group in groups:
            self._groups.setdefault(group, set()).add(key)

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.counts.bytes -= entry.size
        for group in entry.groups:
            members = self._groups[group]
            members.discard(key)
            if not members:
                del self._groups[group]

    def _make_room(self) -> None:
        """Drop what was read longest ago while it is too much, and what is too old for any use."""
        limit = self._terms.now() - OUTAGE_SECONDS
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if self.counts.bytes <= self._most_bytes and entry.read_at > limit:
                return
            self._drop(key)
