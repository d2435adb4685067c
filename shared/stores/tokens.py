"""The access tokens that MLSs have issued: one document for each feed, which all processes share."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredToken:
    """An access token that a feed's MLS has issued, as it is stored: encrypted."""

    sealed: str
    """The token as `shared.reso.sealing` encrypts it."""
    issued_at: datetime
    ends_at: datetime
    """The time from which the MLS refuses the token."""


class Tokens(Protocol):
    """Stores the newest access token of each feed.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def get(self, feed: str) -> StoredToken | None:
        """Return the stored token of `feed`, even if it has expired; None if none is stored."""

    async def put(self, feed: str, token: StoredToken) -> None:
        """Store `token` as the token of `feed`, in place of the stored one."""
