"""Reads keys in batches: callers that request the same key at the same time share one read."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar

from shared.stores.errors import StoreUnavailable

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

WAIT_TIMEOUT_SECONDS = 5.0
"""How long callers wait for a batch at most, the time in the queue included."""
MAX_PENDING_KEYS = 4_000
"""About as many keys as are read in a second. A caller beyond that is refused, and asks another replica or later."""
MAX_PENDING_NEW_KEYS = 3_000
"""How many of the pending keys may be new ones of requests for several keys: made-up keys leave room for others."""
_NEW_KEYS_TURN = 4
"""While others wait, new keys of requests for several keys get one reading in four."""
_MAX_BATCH_KEYS = 200
_CONCURRENCY = 2
_SMALL_BATCH_KEYS = 16
"""A batch may always have this many keys. While another batch is read, it may have up to half of all pending keys: of
two batches of equal size, one is read while the callers of the other are answered."""
_MIN_BATCH_KEYS = 12
"""While another batch is read, a batch with fewer keys lingers for more."""
_LINGER_SECONDS = 0.003
"""How long a small batch lingers. A large and a tiny batch in turn, as they form by themselves, would leave both the
database and this process idle half of the time."""


class Overloaded(Exception):
    """Raised if callers wait for more keys or photos than can be read in time; clients may try again a second later."""


@dataclass(slots=True, eq=False)
class Batch(Generic[Key, Value]):
    """Holds the keys of one database read, its outcome, and the callers that wait for that outcome."""

    keys: dict[Key, None] = field(default_factory=dict)
    outcome: Mapping[Key, Value] | Exception | None = None
    """The values by key, or the error that ended the batch; None until the batch has ended."""
    is_outdated: bool = False
    """True if all keys were invalidated while they were read: the values may be outdated."""
    invalidated_tags: set[Hashable] = field(default_factory=set)
    """Tags that were invalidated while the keys were read: values with these tags may be outdated."""
    has_lingered: bool = False
    deadline: asyncio.TimerHandle | None = None
    _traceback: TracebackType | None = None
    _waiters: list[asyncio.Future[None]] = field(default_factory=list)
    """One future for each caller, so that a cancelled caller does not cancel the others' waits."""

    async def result(self) -> Mapping[Key, Value]:
        """Wait for the batch to end, and return the values of all its keys by key.

        Raises the error that ended the batch: the error of its reading, or TimeoutError if the batch has not ended 5 s
        after it was queued.
        """
        if self.outcome is None:
            ended = asyncio.get_running_loop().create_future()
            self._waiters.append(ended)
            await ended
        if isinstance(self.outcome, Exception):
            # The original traceback is restored; else each caller would add its own frames to the shared error.
            raise self.outcome.with_traceback(self._traceback)
        assert self.outcome is not None  # noqa: S101 - the batch has ended
        return self.outcome

    def end(self, outcome: Mapping[Key, Value] | Exception) -> None:
        """End the batch: set its outcome, and wake all callers that wait in `result`.

        `outcome` holds the values of the batch's keys by key, or the exception that each caller then raises.
        """
        self.outcome = outcome
        if isinstance(outcome, Exception):
            self._traceback = outcome.__traceback__
        for ended in self._waiters:
            if not ended.done():
                ended.set_result(None)
        if self.deadline:
            self.deadline.cancel()


class BatchedReader(Generic[Key, Value]):
    """Collects the keys that callers request, and reads them in batches: each key once, at most two batches at a time.

    `read` is called with a batch, and returns the values of all its keys, by key. If `read` raises StoreUnavailable,
    the queued batches end with that error too: each of them would wait as long for the same error. Any other error ends
    only the batch that was read. `is_new` returns True for a key for which nothing was found so far, such as a made-up
    one.
    """

    def __init__(
        self, read: Callable[[Batch[Key, Value]], Awaitable[Mapping[Key, Value]]], is_new: Callable[[Key], bool]
    ) -> None:
        self._read = read
        self._is_new = is_new
        self._pending: dict[Key, Batch[Key, Value]] = {}
        """By key: the batch that will read it."""
        self._pending_new: set[Key] = set()
        """The pending keys that are new, of requests for several keys."""
        self._queue: deque[Batch[Key, Value]] = deque()
        self._new_queue: deque[Batch[Key, Value]] = deque()
        """The batches of new keys of requests for several keys."""
        self._turn = 0
        self._running: dict[asyncio.Task[None], Batch[Key, Value]] = {}

    @property
    def is_idle(self) -> bool:
        """True if no batch is being read or queued."""
        return not self._running and not self._queue and not self._new_queue

    def request(self, key: Key) -> Batch[Key, Value]:
        """Queue a key to be read, unless it is pending, and return the batch that will read it; does not wait.

        A key is pending while it is queued or being read. Raises Overloaded if the key is not pending while 4,000 other
        keys are.
        """
        return self._joined(key) or self._add(key, self._batch_for(1, self._queue))

    def request_all(self, keys: Iterable[Key], expected: int) -> Mapping[Batch[Key, Value], Collection[Key]]:
        """Queue keys to be read, except pending ones, and return the batches that will read `keys`; does not wait.

        A key is pending while it is queued or being read. The result maps each batch to the keys in `keys` that it
        reads; it is empty if `keys` is empty.

        `expected` is the number of keys in the client's request, of which `keys` are not in memory. All keys that are
        not pending are queued in one batch: the last one in the queue if it has room for `expected` more keys, else a
        new one. But if `expected` is more than 1, keys for which nothing was found so far go to a second queue, so that
        made-up keys leave room for others. Raises Overloaded if a key is not pending while 4,000 other keys are, or if
        a key is to go to the second queue while 3,000 keys of that queue are pending.
        """
        batches: dict[Batch[Key, Value], list[Key]] = {}
        own: dict[bool, Batch[Key, Value]] = {}
        for key in keys:
            batch = self._joined(key)
            if batch is None:
                is_apart = expected > 1 and self._is_new(key)
                if is_apart:
                    self._admit_new(key)
                if is_apart not in own:
                    own[is_apart] = self._batch_for(expected, self._new_queue if is_apart else self._queue)
                batch = self._add(key, own[is_apart])
            batches.setdefault(batch, []).append(key)
        return batches

    def invalidate(self, tags: Set[Hashable]) -> None:
        """Note for all batches that are being read that their values with one of `tags` may be outdated.

        A later request for any key of such a batch reads the key anew, in another batch. Callers that already wait for
        the batch still get its values.
        """
        for batch in self._running.values():
            batch.invalidated_tags |= tags

    def invalidate_all(self) -> None:
        """Note for all batches that are being read that all their values may be outdated.

        A later request for a key of such a batch reads the key anew, in another batch. Callers that already wait for
        the batch still get its values.
        """
        for batch in self._running.values():
            batch.is_outdated = True

    def _joined(self, key: Key) -> Batch[Key, Value] | None:
        """Return the pending batch that a new request of a key may wait for; None if the caller must queue the key.

        None means that the key is not pending, or that its batch was invalidated while it was being read. If 4,000 keys
        are pending, Overloaded is raised instead of returning None.
        """
        batch = self._pending.get(key)
        if batch is None or batch.is_outdated or batch.invalidated_tags:
            if len(self._pending) >= MAX_PENDING_KEYS:
                raise Overloaded
            return None
        return batch

    def _admit_new(self, key: Key) -> None:
        """Note that a new key is pending in the second queue; raise Overloaded if 3,000 such keys are pending already.

        A new key is one for which nothing was found so far. Without this limit, a few clients that ask for hundreds of
        made-up keys at a time would have all other clients refused.
        """
        if len(self._pending_new) >= MAX_PENDING_NEW_KEYS:
            raise Overloaded
        self._pending_new.add(key)

    def _batch_for(self, keys: int, queue: deque[Batch[Key, Value]]) -> Batch[Key, Value]:
        """Return a batch with room for `keys` (a number) more keys: the last in `queue` if it has room, else a new one.

        A new batch is added to the end of `queue`, and ends with TimeoutError if it has not ended within 5 s.
        """
        if queue and self._has_room(queue[-1], keys):
            return queue[-1]
        loop = asyncio.get_running_loop()
        batch: Batch[Key, Value] = Batch()
        queue.append(batch)
        loop.call_soon(self._read_next)
        loop.call_later(_LINGER_SECONDS, self._end_linger, batch)
        batch.deadline = loop.call_later(WAIT_TIMEOUT_SECONDS, self._end, batch, TimeoutError())
        return batch

    def _has_room(self, batch: Batch[Key, Value], keys: int) -> bool:
        size = len(batch.keys) + keys
        limit = min(len(self._pending) // 2, _MAX_BATCH_KEYS) if self._running else _MAX_BATCH_KEYS
        return size <= limit or size <= _SMALL_BATCH_KEYS

    def _add(self, key: Key, batch: Batch[Key, Value]) -> Batch[Key, Value]:
        self._pending[key] = batch
        batch.keys[key] = None
        if len(batch.keys) == _MIN_BATCH_KEYS:
            asyncio.get_running_loop().call_soon(self._read_next)
        return batch

    def _read_next(self) -> None:
        """Start to read the first batch of one of the queues.

        Does nothing while two batches are being read, or while no first batch is ready, because it still waits a few
        milliseconds for more keys.
        """
        if len(self._running) < _CONCURRENCY and (queue := self._next_queue()):
            batch = queue.popleft()
            task = asyncio.create_task(self._run(batch))
            self._running[task] = batch
            task.add_done_callback(self._running.pop)
            task.add_done_callback(lambda _: self._read_next())

    def _next_queue(self) -> deque[Batch[Key, Value]] | None:
        """Return the queue whose first batch is to be read now; None if no first batch is ready.

        If the first batches of both queues are ready, the queue of new keys has every fourth turn.
        """
        ready = [queue for queue in (self._queue, self._new_queue) if queue and self._is_ready(queue[0])]
        if len(ready) < 2:
            return ready[0] if ready else None
        self._turn = (self._turn + 1) % _NEW_KEYS_TURN
        return self._queue if self._turn else self._new_queue

    def _is_ready(self, batch: Batch[Key, Value]) -> bool:
        return not self._running or batch.has_lingered or len(batch.keys) >= _MIN_BATCH_KEYS

    def _end_linger(self, batch: Batch[Key, Value]) -> None:
        batch.has_lingered = True
        self._read_next()

    async def _run(self, batch: Batch[Key, Value]) -> None:
        try:
            self._end(batch, await self._read(batch))
        except StoreUnavailable as error:
            for failed in (batch, *self._queue, *self._new_queue):
                self._end(failed, error)
        except Exception as error:  # noqa: BLE001 - every caller that waits for the batch raises it
            self._end(batch, error)
        finally:
            self._end(batch, StoreUnavailable("the resolver is being stopped"))

    def _end(self, batch: Batch[Key, Value], outcome: Mapping[Key, Value] | Exception) -> None:
        """End a batch with `outcome`, its values or an error: pass that to the callers, and remove the batch.

        The batch is removed from its queue, and its keys are no longer pending. Does nothing if the batch has ended
        already.
        """
        if batch.outcome is not None:
            return
        batch.end(outcome)
        for queue in (self._queue, self._new_queue):
            if batch in queue:  # the batch timed out before it could be read
                queue.remove(batch)
        for key in batch.keys:
            if self._pending.get(key) is batch:
                del self._pending[key]
                self._pending_new.discard(key)
