"""How far are the freshness sweeps of each feed? One document for each feed.

The scheduler writes what it has done, on condition that nobody else has written. An operator only leaves a request,
which the scheduler's writes do not touch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """An operator's request for a sweep at once. A dry run only counts what a sweep would do."""

    at: datetime
    """When it was made; tells requests of a feed apart."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCounts:
    """What a sweep has done so far."""

    compared: int = 0
    """Listings of the MLS that were compared with the records; for a feed without an API, listings rechecked."""
    asked_for: int = 0
    """Listings that the sweep asks the MLS for by key, because they are changed or missing there."""
    missing: int = 0
    """Those of `asked_for` that are displayed and that the MLS does not list."""
    remaining: int = 0
    """Those of `asked_for` that the MLS is still to be asked for."""
    published: int = 0
    """Events that were published; for a feed without an API, copies that were made due."""
    gone: int = 0
    """Those of the published that say that the MLS has a listing no more."""


def counts_to_json(counts: SweepCounts) -> dict[str, int]:
    """Return counts by the names under which they are stored, and which `imagectl sweep --json` prints."""
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
    """Where a feed's sweeps stand. A `revision` of 0 means that the scheduler has never written it."""

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
    """Of the sweep under way, or else of the last one."""
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
        """The operator's request if it was not answered yet, else None."""
        return self.request if self.request and self.request.at != self.answered_request_at else None


class Sweeps(Protocol):
    """Stores where each feed's sweeps stand. Each method raises StoreUnavailable."""

    async def get(self, feed: str) -> SweepState:
        """Return a feed's state: an empty one with revision 0 before the first write."""

    async def write(self, state: SweepState) -> bool:
        """Write all of a state but its request, with its revision raised by one.

        Returns False, and changes nothing, if the recorded revision is another.
        """

    async def request(self, feed: str, request: SweepRequest) -> None:
        """Store an operator's request in place of any earlier one."""
