"""The no-photo pictures, which origins send in place of photos that they do not have. Operators mark them by hash."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NoPhoto:
    """A marked no-photo picture of a feed: the SHA-256 of its file in hex, and when an operator marked it."""

    feed: str
    sha256: str
    marked_at: datetime


class NoPhotos(Protocol):
    """Stores which pictures operators have marked as no-photo pictures.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def mark(self, no_photo: NoPhoto) -> None:
        """Store the mark of a picture that is no photo. A mark that is stored already stays as it is."""

    async def unmark(self, feed: str, sha256: str) -> bool:
        """Remove the mark of the feed's picture with this SHA-256, in hex; return True if it was marked."""

    async def all(self) -> Sequence[NoPhoto]:
        """Return the marks of all feeds, sorted by feed and then by the time of the mark."""

    async def hashes(self, feed: str) -> Collection[str]:
        """Return the SHA-256, in hex, of each marked picture of the feed; empty if none is marked."""
