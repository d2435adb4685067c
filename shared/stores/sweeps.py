"""The progress of each feed's freshness sweeps: one document for each feed.

The scheduler writes the progress. Its write is refused if another scheduler has written since the progress was read. An
operator only stores a request, which the scheduler's writes do not change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """An operator's request, made at the time `at`, to sweep a feed at once rather than at the next scheduled time.

    With `dry_run`, the sweep only counts what it would do. The time `at` identifies the request.
    """

    at: datetime
    """When the request was made; this time identifies the request."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCounts:
    """What one freshness sweep of a feed has done so far, as numbers.

    `compared` is how many listings of the MLS were compared with the records. `asked_for` is how many listings the
    sweep asks the MLS for by key, because they are changed or missing there. Of these, `missing` are displayed but not
    listed by the MLS, and `remaining` are still to be asked for. `published` is how many events were published. Of
    these, `gone` say that the MLS no longer has a listing.
    """

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
    """Return the counts of a sweep as a dict, by the names under which they are stored.

    `imagectl sweep --json` prints the same names.
    """
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
    """The progress of one feed's freshness sweeps, as stored.

    `revision` counts the scheduler's writes; 0 means that it has never written. `request` is the operator's newest
    request, None if there was none. `counts` belong to the sweep under way, or to the last sweep if none is under way.
    `error` says why the last attempt to read the MLS failed, "" if it did not fail.
    """

    feed: str
    revision: int = 0
    request: SweepRequest | None = None
    """The operator's newest request, answered or not."""
    answered_request_at: datetime | None = None
    """The `at` of the request that was answered last; None if none was answered."""
    last_finished_start: datetime | None = None
    """The scheduled start of the last daily sweep that was finished."""
    finished_at: datetime | None = None
    """When the last sweep was finished, dry runs not counted; None if none was."""
    followed_at: datetime | None = None
    """When the MLS was last asked for changed records; None if it never was."""
    published_until: Mapping[str, datetime] = field(default_factory=dict)
    """By the name of an MLS's timestamp: the time, by the MLS's clock, up to which all changes are published."""
    counts: SweepCounts = field(default_factory=SweepCounts)
    """The counts of the sweep under way, or of the last sweep if none is under way."""
    error: str = ""
    """Why the last attempt to read the MLS failed; "" if it did not fail."""
    failures: int = 0
    """How many attempts to read the MLS have failed in a row."""
    try_again_at: datetime | None = None
    """Before this time, the MLS is not asked for anything."""
    compare_again_at: datetime | None = None
    """Before this time, only changes are read, not the MLS's whole market, because the market was incomplete."""

    @property
    def open_request(self) -> SweepRequest | None:
        """The operator's newest request for a sweep of the feed; None if there is none, or if it was answered."""
        return self.request if self.request and self.request.at != self.answered_request_at else None


class Sweeps(Protocol):
    """Stores the progress of the freshness sweeps of each feed.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def get(self, feed: str) -> SweepState:
        """Return the stored progress of the sweeps of `feed`.

        If nothing is stored yet, return an empty state with revision 0. Raises StoreUnavailable.
        """

    async def write(self, state: SweepState) -> bool:
        """Write the progress of a feed's sweeps, with its revision raised by one; return True if it was written.

        The stored request of the operator does not change; `state.request` is ignored. If the stored revision differs
        from `state.revision`, because another scheduler has written, change nothing and return False. Raises
        StoreUnavailable.
        """

    async def request(self, feed: str, request: SweepRequest) -> None:
        """Store an operator's request for a sweep of `feed`, in place of any earlier request.

        Raises StoreUnavailable.
        """
