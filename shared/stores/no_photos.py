"""The pictures that origins send in place of photos that they do not have. An operator marks them by their hashes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NoPhoto:
    """A no-photo picture of a feed: the SHA-256 of its file in hex, and when an operator marked it."""

    feed: str
    sha256: str
    marked_at: datetime


class NoPhotos(Protocol):
    """Stores which pictures are marked as no photo.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def mark(self, no_photo: NoPhoto) -> None:
        """Store that the picture is no photo. A picture that is marked already stays as it is."""

    async def unmark(self, feed: str, sha256: str) -> bool:
        """Forget the mark of a feed's picture; return True if it was marked."""

    async def all(self) -> Sequence[NoPhoto]:
        """Return all marked pictures, sorted by feed and by the time of the mark."""

    async def hashes(self, feed: str) -> Collection[str]:
        """Return the SHA-256 of each marked picture of the feed, in hex."""
