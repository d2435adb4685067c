"""What is known of a feed's origin and of what all workers together have taken from it? The ledger.

A ledger is a value: each rule takes one and returns another. `codec` says how it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.domain.failures import Reason
from shared.origin_budget.moments import LONG_AGO, Moment
from shared.origin_budget.windows import Tally


@dataclass(frozen=True, slots=True)
class Breaker:
    """An open circuit breaker: nothing is granted but one probe at a time, the next from `probe_at` on."""

    reason: Reason
    """Why so many images in a row failed."""
    wait_seconds: float
    """How long the wait before the next probe is; it doubles with each probe that fails."""
    probe_at: Moment
    probe_slot: str = ""
    """The slot of the probe that was granted last; empty before the first."""


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator stopped a feed's requests: none is granted, none sent."""

    since: Moment
    until: Moment | None
    """When the pause ends by itself; None: when an operator ends it."""
    reason: str
    """What the operator gave as reason, perhaps empty."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What all workers together have taken from one feed's origin, and what suspends its requests."""

    as_of: Moment = LONG_AGO
    """The latest moment at which the ledger was used."""
    slots: Mapping[str, Moment] = field(default_factory=dict)
    """The running downloads by slot, each with the moment at which the slot is free again if its worker dies."""
    planned: tuple[Moment, ...] = ()
    """The planned times of requests, in order: of the last second, and of what is to come."""
    hour_requests: Tally = ()
    day_requests: Tally = ()
    hour_bytes: Tally = ()
    batch_requests: int = 0
    """How many requests were planned since the last pause between batches."""
    batch_latest: Moment = LONG_AGO
    """The planned time of the batch's latest request."""
    viewed_slot_until: Moment = LONG_AGO
    """Until when a slot is kept free for a viewed image that found none."""
    throttled_until: Moment = LONG_AGO
    """Until when the origin asked for silence."""
    throttlings: int = 0
    """How many throttlings in a row named no time."""
    failed_images: tuple[str, ...] = ()
    """The images that failed alike in a row, each once, for a broken image is tried again and again."""
    failed_reason: Reason | None = None
    """What those images have in common; None where there are none."""
    breaker: Breaker | None = None
    """The open breaker; None where it is closed."""
    reason: str = ""
    """Why the feed is throttled or its breaker open, in words for operators."""
    pause: Pause | None = None
    """An operator's pause; None where there is none."""
