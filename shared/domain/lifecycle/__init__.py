"""How does a photo's state change? Every transition of a photo is a function here; docs/photo-life.md draws them all.

A transition takes the photo (or its listing) as it was read, and returns it as it shall be written. All other code
reads these facts and calls these functions; a test finds whoever changes a fact in another place.
"""

from shared.domain.lifecycle.attempts import (
    LEASE,
    can_claim,
    claim,
    defer,
    release,
    settle_deferred,
    settle_downloaded,
    settle_failed,
    settle_unchanged,
)
from shared.domain.lifecycle.requests import (
    RETRY_VIEWED_AFTER,
    force,
    is_released_by_view,
    raise_priority,
    rebuild,
    recheck,
    request,
    view,
)

__all__ = [
    "LEASE",
    "RETRY_VIEWED_AFTER",
    "can_claim",
    "claim",
    "defer",
    "force",
    "is_released_by_view",
    "raise_priority",
    "rebuild",
    "recheck",
    "release",
    "request",
    "settle_deferred",
    "settle_downloaded",
    "settle_failed",
    "settle_unchanged",
    "view",
]
