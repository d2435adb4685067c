"""Object storage: two buckets, one public and one private. Every object is immutable."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from shared.domain.audit import StoredObject


class Bucket(StrEnum):
    """Which of the two buckets."""

    PUBLIC = "public"
    ORIGINALS = "originals"


class Objects(Protocol):
    """Any S3."""

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        """Store the file's bytes under the key; the same key again holds the same bytes."""

    async def get(self, bucket: Bucket, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""

    async def save(self, bucket: Bucket, key: str, into: Path) -> bool:
        """Write an object's bytes into a file, whatever their size; False where there is no object."""

    async def list(self, bucket: Bucket, prefix: str) -> Collection[str]:
        """Return the keys below a prefix, at most 10,000: one photo's or one listing's, never a whole bucket's."""

    async def page(self, bucket: Bucket, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        """Return the objects below a prefix, those after the key given, a key that exists; "" begins.

        The order is the server's own, and the same from page to page.
        """

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        """Delete objects, a thousand in one request; return the keys that the store refused to delete.

        One that is not there is no error.
        """

    async def ping(self) -> None:
        """Raise StoreUnavailable while the store does not answer or a bucket is missing."""
