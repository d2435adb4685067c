"""The progress of each feed's freshness sweeps: one document for each feed.

The scheduler writes the progress, on condition that no other scheduler has written since it read. An operator only
stores a request, which the scheduler's writes leave as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """An operator's request for a sweep at once. A dry run only counts what a sweep would do."""

    at: datetime
    """When the request was made; requests of a feed differ by this time."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCounts:
    """The counts of one sweep's work so far."""

    compared: int = 0
    """Listings of the MLS that were compared with the records; for a feed without an API, listings rechecked."""
    asked_for: int = 0
    """Listings that the sweep asks the MLS for by key, because they are changed or missing there."""
    missing: int = 0
    """The listings among `asked_for` that are displayed and that the MLS does not list."""
    remaining: int = 0
    """The listings among `asked_for` that the MLS is still to be asked for."""
    published: int = 0
    """Events that were published; for a feed without an API, copies that were made due."""
    gone: int = 0
    """The published events that say that the MLS no longer has a listing."""


def counts_to_json(counts: SweepCounts) -> dict[str, int]:
    """Return the counts by the names that are stored, and that `imagectl sweep --json` prints."""
    return {
        "compared": counts.compared,
        "asked_for": counts.asked_for,
        "missing": counts.missing,
        "left": counts.remaining,
        "published": counts.published,
        "gone": counts.gone,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepState:
    """The progress of a feed's sweeps. A `revision` of 0 means that the scheduler has never written it."""

    feed: str
    revision: int = 0
    request: SweepRequest | None = None
    """The operator's newest request, answered or not."""
    answered_request_at: datetime | None = None
    """`at` of the request that was answered last."""
    last_finished_start: datetime | None = None
    """The scheduled start of the last daily sweep that was finished."""
    finished_at: datetime | None = None
    """When the last sweep that was no dry run was finished."""
    followed_at: datetime | None = None
    """When the MLS was last asked for changes."""
    published_until: Mapping[str, datetime] = field(default_factory=dict)
    """By the name of an MLS's timestamp: the time, by the MLS's clock, up to which all changes are published."""
    counts: SweepCounts = field(default_factory=SweepCounts)
    """The counts of the sweep under way, or of the last sweep if none is under way."""
    error: str = ""
    """Why the MLS could not be read, if the last attempt failed."""
    failures: int = 0
    """Failed attempts to read the MLS, in a row."""
    try_again_at: datetime | None = None
    """The MLS is not asked for anything before then."""
    compare_again_at: datetime | None = None
    """The MLS's market is not read as a whole before then, because it was incomplete; changes are followed."""

    @property
    def open_request(self) -> SweepRequest | None:
        """The operator's request if no sweep has answered it yet, else None."""
        return self.request if self.request and self.request.at != self.answered_request_at else None


class Sweeps(Protocol):
    """Stores the progress of each feed's sweeps. Each method raises StoreUnavailable."""

    async def get(self, feed: str) -> SweepState:
        """Return a feed's state: an empty one with revision 0 before the first write."""

    async def write(self, state: SweepState) -> bool:
        """Write a state with its revision raised by one, but leave the stored request; return True if it was written.

        Return False, and change nothing, if the stored revision differs from the state's.
        """

    async def request(self, feed: str, request: SweepRequest) -> None:
        """Store an operator's request in place of any earlier one."""
