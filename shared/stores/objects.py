"""Object storage: a public bucket for variants and a private one for originals. Objects never change."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from shared.domain.audit import StoredObject


class Bucket(StrEnum):
    """One of the two buckets; the bucket's name in storage is a setting."""

    PUBLIC = "public"
    ORIGINALS = "originals"


class Objects(Protocol):
    """Reads and writes objects in S3. Each method raises StoreUnavailable."""

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        """Store the bytes of the file `source` under a key. To store the same key again changes nothing."""

    async def get(self, bucket: Bucket, key: str) -> bytes | None:
        """Return an object's bytes; None if there is no object with this key."""

    async def save(self, bucket: Bucket, key: str, into: Path) -> bool:
        """Write an object's bytes, of any size, to the file `into`; return False if there is no such object."""

    async def list(self, bucket: Bucket, prefix: str) -> Collection[str]:
        """Return the keys with a prefix, at most 10,000: those of one photo or listing, not of a whole bucket."""

    async def page(self, bucket: Bucket, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        """Return up to `limit` objects whose keys have a prefix, beginning behind the key `after`; "" is the start.

        `after` is the last key of the page before. The order is the server's, and the same for all pages.
        """

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        """Delete the objects with these keys, if there are any; return the keys that the server refused to delete."""

    async def ping(self) -> None:
        """Return if storage answers and both buckets exist; raise StoreUnavailable if not."""
