"""The ledger: what all workers together have taken from a feed's origin, and how the origin is.

A ledger is a value: rules take one and return another. `codec` says how it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.domain.failures import Reason
from shared.origin_budget.moments import LONG_AGO, Moment
from shared.origin_budget.windows import Tally


@dataclass(frozen=True, slots=True)
class Breaker:
    """An open circuit breaker: only one probe at a time is granted, the next from `probe_at` on."""

    reason: Reason
    """The reason for which so many photos in a row failed."""
    wait_seconds: float
    """How long the wait for this probe is; it doubles with each probe that fails."""
    probe_at: Moment
    probe_slot: str = ""
    """The slot of the latest probe; empty before the first."""


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator's pause: no request is granted, and none is sent."""

    since: Moment
    until: Moment | None
    """When the pause ends by itself; None if only an operator ends it."""
    reason: str
    """The operator's reason; may be empty."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What all workers together have taken from one feed's origin, and what suspends its requests."""

    as_of: Moment = LONG_AGO
    """The latest moment at which the ledger was used."""
    slots: Mapping[str, Moment] = field(default_factory=dict)
    """The slots of running downloads, each with the moment at which it expires if its worker dies."""
    planned: tuple[Moment, ...] = ()
    """The planned times of requests, in order: those of about the last second, and those to come."""
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
    """Until when the origin asked for silence."""
    throttlings: int = 0
    """For how many throttlings in a row the origin named no time."""
    failed_images: tuple[str, ...] = ()
    """The ids of images that failed in a row for one reason, each once, as a broken image is tried again and again."""
    failed_reason: Reason | None = None
    """That reason; None if there are no such images."""
    breaker: Breaker | None = None
    """The open breaker; None while it is closed."""
    reason: str = ""
    """Why the feed is throttled or its breaker open, in words for operators."""
    pause: Pause | None = None
    """An operator's pause; None if there is none."""
