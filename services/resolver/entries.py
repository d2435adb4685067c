"""The entries of a cache: by key and by tag, within a limit of bytes. Nothing here waits or reads a clock."""

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.resolver.cache_metrics import CacheCounts

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class Entry(Generic[Value]):
    """Holds one cached value with its tags, its size in memory, when it was read and until when it is fresh.

    `read_at` and `fresh_until` are in seconds of the cache policy's monotonic clock.
    """

    value: Value
    tags: frozenset[Hashable]
    """An event that names any of these tags invalidates the entry."""
    size: int
    """Bytes of memory that the entry takes."""
    read_at: float
    fresh_until: float


class CacheEntries(Generic[Key, Value]):
    """Keeps the entries of one cache in memory, by key and by tag, in the order in which their values were read.

    Each change also updates `counts.bytes`, the memory that all entries take. Only `evict` removes entries to keep
    within `max_bytes`.
    """

    def __init__(self, max_bytes: int, counts: CacheCounts) -> None:
        self.by_key: OrderedDict[Key, Entry[Value]] = OrderedDict()
        """Others may read it; only this class changes it."""
        self._keys_by_tag: dict[Hashable, set[Key]] = {}
        self._max_bytes = max_bytes
        self._counts = counts

    def put(self, key: Key, entry: Entry[Value]) -> None:
        """Add the entry of a key, in place of an older one; do nothing if the key has an entry that was read later."""
        before = self.by_key.get(key)
        if before and before.read_at > entry.read_at:
            return
        self.remove(key)
        self.by_key[key] = entry
        self._counts.bytes += entry.size
        for tag in entry.tags:
            self._keys_by_tag.setdefault(tag, set()).add(key)

    def remove(self, key: Key) -> None:
        """Remove the entry of a key from memory; do nothing if the key has no entry."""
        entry = self.by_key.pop(key, None)
        if entry is None:
            return
        self._counts.bytes -= entry.size
        for tag in entry.tags:
            keys = self._keys_by_tag[tag]
            keys.discard(key)
            if not keys:
                del self._keys_by_tag[tag]

    def tagged(self, tags: Iterable[Hashable]) -> set[Key]:
        """Return the keys of all entries, fresh or stale, that have at least one of `tags`; an empty set if none."""
        return {key for tag in tags for key in self._keys_by_tag.get(tag, ())}

    def expire(self, keys: Iterable[Key]) -> None:
        """Make the entries of these keys stale; each key must have an entry.

        Stale entries stay in memory, to be used while the database is unavailable.
        """
        for key in keys:
            self.by_key[key].fresh_until = 0.0

    def values_read_after(self, keys: Collection[Key], limit: float) -> dict[Key, Value] | None:
        """Return the values of all `keys` by key, fresh or stale; None if a key has no entry read after `limit`.

        `limit` is in seconds of the cache policy's monotonic clock.
        """
        entries = {key: entry for key in keys if (entry := self.by_key.get(key)) and entry.read_at > limit}
        return {key: entry.value for key, entry in entries.items()} if len(entries) == len(keys) else None

    def evict(self, read_before: float) -> None:
        """Remove entries read at `read_before` or earlier; then remove the oldest until the rest fit in `max_bytes`.

        `read_before` is in seconds of the cache policy's monotonic clock.
        """
        while self.by_key:
            key, entry = next(iter(self.by_key.items()))
            if self._counts.bytes <= self._max_bytes and entry.read_at > read_before:
                return
            self.remove(key)
