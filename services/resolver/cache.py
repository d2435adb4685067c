"""A read-through cache: returns values from memory while their entries are fresh, and reads the others in batches.

`entries.py` holds the values in memory, `batches.py` reads each missing key once for all callers, and `policy.py`
decides how long an entry may be used, also while the database is unavailable.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from services.resolver.batches import Batch, BatchedReader
from services.resolver.cache_metrics import CacheCounts
from services.resolver.entries import CacheEntries, Entry
from services.resolver.policy import LOAD_TIMEOUT_SECONDS, STALE_IF_ERROR_SECONDS, CachePolicy
from shared.stores.errors import StoreUnavailable

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_MAX_FOUND_NAMES = 30_000
"""How many names of found keys are remembered, in about 6 MB."""


class ReadThroughCache(Generic[Key, Value]):
    """Returns values of one kind by key: from memory while they are fresh, else from the database, read in batches.

    `load` gets keys and returns a value for each, or raises StoreUnavailable. `tags_of` gets a key and its value, and
    returns the tags by which events invalidate the entry. `size_of` gets the same, and returns the bytes of memory that
    the entry takes. All entries together take `max_bytes` at most. `name_of` returns what a key names, such as a
    listing. The batched reader treats a key as new until a value that is not empty was read for a key with the same
    name.
    """

    def __init__(
        self,
        load: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]],
        tags_of: Callable[[Key, Value], Iterable[Hashable]],
        size_of: Callable[[Key, Value], int],
        max_bytes: int,
        policy: CachePolicy,
        counts: CacheCounts,
        name_of: Callable[[Key], Hashable],
    ) -> None:
        self._load = load
        self._tags_of = tags_of
        self._size_of = size_of
        self._policy = policy
        self._counts = counts
        self._entries: CacheEntries[Key, Value] = CacheEntries(max_bytes, counts)
        self._entry = self._entries.by_key.get  # a method of ours would cost every answer another call
        self._reader: BatchedReader[Key, Value] = BatchedReader(self._read, self._is_new)
        self._name_of = name_of
        self._found_names: OrderedDict[Hashable, None] = OrderedDict()
        """The names of keys for which a value was found, the oldest first."""

    def fresh(self, key: Key) -> Value | None:
        """Return the value of a key from memory if its entry is fresh, else None.

        Never waits and never reads the database. A returned value counts as a hit; None is not counted as a miss.
        """
        entry = self._entry(key)
        if entry is None or entry.fresh_until <= self._policy.now():
            return None
        self._counts.hits += 1
        return entry.value

    def last(self, key: Key) -> Value | None:
        """Return the value of a key from memory, fresh or stale; None if the key has no entry. Never waits."""
        entry = self._entry(key)
        return entry.value if entry else None

    async def get_one(self, key: Key) -> Value:
        """Return the value of one key, from memory or the database, as `get` would, but faster.

        Raises the same errors as `get`.
        """
        now, entry = self._policy.now(), self._entry(key)
        if entry is not None and (entry.fresh_until > now or self._serves_stale(key, entry, now)):
            self._counts.hits += 1
            return entry.value
        self._counts.misses += 1
        return (await self._values(self._reader.request(key), (key,)))[key]

    async def get(self, keys: Collection[Key]) -> dict[Key, Value]:
        """Return the values of all `keys` by key, from memory if fresh; the others are read from the database together.

        Stale values are returned while the database is unavailable. Raises StoreUnavailable if a value cannot be read
        and memory has none that may be used, TimeoutError if a value is not read within 5 s, and Overloaded if too many
        keys wait to be read.
        """
        now, found, missing = self._policy.now(), dict[Key, Value](), list[Key]()
        for key in keys:
            entry = self._entry(key)
            if entry is not None and (entry.fresh_until > now or self._serves_stale(key, entry, now)):
                found[key] = entry.value
            else:
                missing.append(key)
        batches = self._reader.request_all(missing, len(keys))
        self._counts.hits += len(found)
        self._counts.misses += len(missing)
        for batch, batch_keys in batches.items():
            found.update(await self._values(batch, batch_keys))
        return found

    def invalidate(self, *tags: Hashable, remove: bool) -> None:
        """Invalidate all entries that have at least one of these tags: their values are read again when requested.

        With `remove`, the entries are removed from memory. Without it, their values are still returned while the
        database is unavailable.
        """
        self._reader.invalidate(set(tags))
        keys = self._entries.tagged(tags)
        self._entries.expire(keys)
        if remove:
            for key in keys:
                self._entries.remove(key)

    def invalidate_all(self) -> None:
        """Invalidate all entries: their values are read again when requested.

        The old values are still returned while the database is unavailable.
        """
        self._reader.invalidate_all()
        self._entries.expire(self._entries.by_key)

    def _serves_stale(self, key: Key, entry: Entry[Value], now: float) -> bool:
        """Return True if the stale `entry` of a key may be used at `now`, because the database is unavailable.

        An entry older than half a minute may not be used. `now` is in seconds of the policy's clock. Before True is
        returned, the key is queued if no batch is queued or being read: reading the key shows whether the database is
        available again.
        """
        if not self._policy.allows_stale(entry.read_at, now):
            return False
        if self._reader.is_idle:
            self._reader.request(key)
        return True

    async def _values(self, batch: Batch[Key, Value], keys: Collection[Key]) -> Mapping[Key, Value]:
        """Wait for a batch to end, and return by key the values of `keys`, which are some of the batch's keys.

        If the batch ends with StoreUnavailable, the values of `keys` in memory are returned, fresh or stale. Raises
        StoreUnavailable if one of `keys` has no value in memory, or one older than half a minute. Any other error of
        the batch is raised.
        """
        try:
            values = await batch.result()
        except StoreUnavailable:
            stale = self._entries.values_read_after(keys, self._policy.now() - STALE_IF_ERROR_SECONDS)
            if stale is None:
                raise
            return stale
        return {key: values[key] for key in keys}

    async def _read(self, batch: Batch[Key, Value]) -> Mapping[Key, Value]:
        """Read the keys of a batch from the database and return their values by key; the batched reader calls this.

        The values that were not invalidated while they were read are also added to memory. Then entries that are half a
        minute old, or for which there is no room, are evicted. Raises StoreUnavailable.
        """
        read_at = self._policy.now()
        values = await self._load_in_time(batch.keys)
        self._note_found(key for key, value in values.items() if value)
        if not batch.is_outdated:
            for key, value in values.items():
                self._keep(key, value, read_at, batch)
        self._entries.evict(self._policy.now() - STALE_IF_ERROR_SECONDS)
        return values

    def _is_new(self, key: Key) -> bool:
        return self._name_of(key) not in self._found_names

    def _note_found(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._found_names[self._name_of(key)] = None
            if len(self._found_names) > _MAX_FOUND_NAMES:
                self._found_names.popitem(last=False)

    async def _load_in_time(self, keys: Collection[Key]) -> Mapping[Key, Value]:
        """Read the values of keys from the database, and return them by key.

        Tells the policy whether the database answered. Raises StoreUnavailable if the database is unavailable, or has
        not answered after 2 s; the policy then allows stale entries.
        """
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_SECONDS):
                values = await self._load(keys)
        except TimeoutError:
            self._policy.on_load_failed()
            raise StoreUnavailable(f"no answer within {LOAD_TIMEOUT_SECONDS:.0f} s") from None
        except StoreUnavailable:
            self._policy.on_load_failed()
            raise
        self._policy.on_loaded()
        return values

    def _keep(self, key: Key, value: Value, read_at: float, batch: Batch[Key, Value]) -> None:
        """Add an entry with the value of a key to memory, unless one of its tags was invalidated while it was read.

        `batch` is the batch that read the value; it knows which tags were invalidated meanwhile. `read_at` is when its
        reading began, in seconds of the policy's clock. The entry is fresh from `read_at` until the policy's time to
        live has passed.
        """
        tags = frozenset(self._tags_of(key, value))
        if batch.invalidated_tags.isdisjoint(tags):
            fresh_until = read_at + self._policy.ttl_seconds
            self._entries.put(key, Entry(value, tags, self._size_of(key, value), read_at, fresh_until))
