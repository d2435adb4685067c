"""How does a photo's state change? Every transition of a photo is a function here; docs/photo-life.md draws them all.

A transition takes a photo, or its listing, as it was read, and returns the photo or listing to write. All other code
only reads the fields of a photo and calls these functions; a test fails if code elsewhere changes such a field.
"""

from shared.domain.lifecycle.announcements import (
    ListingFacts,
    announce,
    announce_again,
    announce_held,
    announce_listing,
    announce_renamed,
)
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
from shared.domain.lifecycle.discards import (
    add_objects,
    begin_removal,
    discard_lost_copy,
    discard_unclaimed,
    finish_removal,
    lose_copy,
    lose_original,
    retry_removal,
    supersede,
    withdraw,
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
from shared.domain.lifecycle.visibility import (
    GRACE,
    allow_again,
    hide,
    hold,
    remove_listing,
    remove_photos,
    show,
)

__all__ = [
    "GRACE",
    "LEASE",
    "RETRY_VIEWED_AFTER",
    "ListingFacts",
    "add_objects",
    "allow_again",
    "announce",
    "announce_again",
    "announce_held",
    "announce_listing",
    "announce_renamed",
    "begin_removal",
    "can_claim",
    "claim",
    "defer",
    "discard_lost_copy",
    "discard_unclaimed",
    "finish_removal",
    "force",
    "hide",
    "hold",
    "is_released_by_view",
    "lose_copy",
    "lose_original",
    "raise_priority",
    "rebuild",
    "recheck",
    "release",
    "remove_listing",
    "remove_photos",
    "request",
    "retry_removal",
    "settle_deferred",
    "settle_downloaded",
    "settle_failed",
    "settle_unchanged",
    "show",
    "supersede",
    "view",
    "withdraw",
]
