"""The ledger: how much of a feed's budget all workers together have used, and what suspends the feed.

A ledger is an immutable value: the rules take a ledger and return another. `codec` says how a ledger is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.domain.failures import Reason
from shared.origin_budget.moments import LONG_AGO, Moment
from shared.origin_budget.windows import Tally


@dataclass(frozen=True, slots=True)
class Breaker:
    """An open circuit breaker: while it is open, only one request at a time is granted, the probe."""

    reason: Reason
    """The reason for which photos in a row failed."""
    wait_seconds: float
    """How many seconds the wait before the next probe lasts; it doubles with each probe that fails."""
    probe_at: Moment
    """From when on the next probe may be granted."""
    probe_slot: str = ""
    """The slot of the latest probe; empty before the first."""


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator's pause of a feed: no request is granted, and no granted request is sent."""

    since: Moment
    until: Moment | None
    """When the pause ends by itself; None if only an operator ends it."""
    reason: str
    """The operator's reason; may be empty."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The requests and bytes that all workers together had from one feed's origin, and what suspends the feed."""

    as_of: Moment = LONG_AGO
    """The latest moment at which the ledger was used."""
    slots: Mapping[str, Moment] = field(default_factory=dict)
    """The slots of running downloads, each with the moment at which it expires if its worker dies."""
    planned: tuple[Moment, ...] = ()
    """The planned times of the requests of about the last second and of those to come, in order."""
    hour_requests: Tally = ()
    day_requests: Tally = ()
    hour_bytes: Tally = ()
    batch_requests: int = 0
    """How many requests were planned since the last pause between batches."""
    batch_latest: Moment = LONG_AGO
    """The planned time of the batch's latest request."""
    viewed_slot_until: Moment = LONG_AGO
    """Until when a slot is kept free for a viewed photo that found none."""
    throttled_until: Moment = LONG_AGO
    """Until when the origin is sent no request, as it asked."""
    throttlings: int = 0
    """The number of throttlings in a row for which the origin named no time."""
    failed_images: tuple[str, ...] = ()
    """The ids of images that failed in a row for `failed_reason`. Each is named once: a broken image is attempted again
    and again."""
    failed_reason: Reason | None = None
    """The reason for which `failed_images` failed; None if there are none."""
    breaker: Breaker | None = None
    """The open breaker; None while it is closed."""
    reason: str = ""
    """Why the feed is throttled or its breaker is open, in words for operators."""
    pause: Pause | None = None
    """An operator's pause; None if there is none."""
