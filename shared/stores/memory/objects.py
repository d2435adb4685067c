"""Object storage in memory, for tests."""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from shared.clock import Clock, utc_now
from shared.domain.audit import StoredObject
from shared.stores.objects import Bucket


class MemoryObjects:
    """Keeps the objects of both buckets in memory, for tests; implements Objects.

    `contents` has the objects' bytes by bucket and key. `stored_at` has, by bucket and key, when an object was stored,
    as `clock` returned the time.
    """

    def __init__(self, clock: Clock = utc_now) -> None:
        self.contents: dict[Bucket, dict[str, bytes]] = {bucket: {} for bucket in Bucket}
        self._clock = clock
        self.stored_at: dict[tuple[Bucket, str], datetime] = {}

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        self.contents[bucket][key] = source.read_bytes()  # noqa: ASYNC240 - a small file of a test
        self.stored_at[bucket, key] = self._clock()

    async def get(self, bucket: Bucket, key: str) -> bytes | None:
        return self.contents[bucket].get(key)

    async def save(self, bucket: Bucket, key: str, into: Path) -> bool:
        found = self.contents[bucket].get(key)
        if found is not None:
            into.write_bytes(found)  # noqa: ASYNC240 - a small file of a test
        return found is not None

    async def list(self, bucket: Bucket, prefix: str) -> Collection[str]:
        return [key for key in self.contents[bucket] if key.startswith(prefix)]

    async def page(self, bucket: Bucket, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        keys = sorted(key for key in self.contents[bucket] if key.startswith(prefix) and key > after)[:limit]
        return [StoredObject(key, len(self.contents[bucket][key]), self.stored_at[bucket, key]) for key in keys]

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        for key in keys:
            self.contents[bucket].pop(key, None)
        return ()

    async def ping(self) -> None:
        """Do nothing: objects in memory are always available."""
