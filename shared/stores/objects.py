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
        """Store the bytes of the file `source` under `key`. To store the same file again changes nothing."""

    async def get(self, bucket: Bucket, key: str) -> bytes | None:
        """Return an object's bytes; None if there is no object with this key."""

    async def save(self, bucket: Bucket, key: str, into: Path) -> bool:
        """Write an object's bytes, of any size, to the file `into`; return True.

        Return False, and write nothing, if there is no object with this key.
        """

    async def list(self, bucket: Bucket, prefix: str) -> Collection[str]:
        """Return the keys that begin with `prefix`, at most 10,000: enough for a listing, not for a whole bucket."""

    async def page(self, bucket: Bucket, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        """Return up to `limit` objects whose keys begin with `prefix`, in the server's order, the same for all pages.

        The first is the one that follows `after`, the last key of the previous page; "" stands for the start.
        """

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        """Delete the objects with these keys; return the keys that the server refused to delete.

        Keys without an object are ignored.
        """

    async def ping(self) -> None:
        """Raise StoreUnavailable if storage does not answer or a bucket is missing."""
