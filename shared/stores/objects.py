"""Object storage: a public bucket for variants and a private one for originals. Objects never change."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from shared.domain.audit import StoredObject


class Bucket(StrEnum):
    """One of the two buckets: PUBLIC for variants, ORIGINALS for originals, which are private.

    The bucket's name in storage is a setting.
    """

    PUBLIC = "public"
    ORIGINALS = "originals"


class Objects(Protocol):
    """Reads, writes and deletes objects in two buckets of an S3 server.

    Each method raises StoreUnavailable if the storage does not answer.
    """

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        """Upload the file `source` to a bucket as the object `key`, with the Content-Type `content_type`.

        An object with this key is overwritten; callers give different content a different key. Raises StoreUnavailable.
        """

    async def get(self, bucket: Bucket, key: str) -> bytes | None:
        """Return the bytes of an object, read into memory; None if the bucket has no object with this key.

        Raises StoreUnavailable.
        """

    async def save(self, bucket: Bucket, key: str, into: Path) -> bool:
        """Download an object of any size to the file `into`, and return True.

        If the bucket has no object with this key, write nothing and return False. Raises StoreUnavailable.
        """

    async def list(self, bucket: Bucket, prefix: str) -> Collection[str]:
        """Return the keys of a bucket's objects that begin with `prefix`, at most 10,000, in no particular order.

        That is enough for the objects of one listing, not for a whole bucket. Raises StoreUnavailable.
        """

    async def page(self, bucket: Bucket, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        """Return up to `limit` objects of a bucket whose keys begin with `prefix`, in the server's order.

        The order is the same for all pages. The first object is the one that follows the key `after`, which is the last
        key of the previous page, or "" for the first page. Raises StoreUnavailable.
        """

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        """Delete the objects with these keys from a bucket; return the keys that the server refused to delete.

        Keys without an object are ignored. Raises StoreUnavailable; some objects may be deleted nevertheless.
        """

    async def ping(self) -> None:
        """Raise StoreUnavailable if object storage does not answer or a bucket is missing; otherwise do nothing."""
