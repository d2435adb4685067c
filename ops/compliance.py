"""The evidence of removals in words: what was held of a listing, why it went, when, and what is left."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from ops.words import many
from shared.domain.listing import Listing
from shared.stores.removals import Removal

_REASONS = {
    "listing-inactive": "the listing left the market",
    "photo-withdrawn": "the listing no longer had the photo",
    "opt-out": "the owner opted out of display on the internet",
    "superseded": "a newer version had taken its place",
    "forced": "an operator had it removed",
}


def of_listing(listing: Listing, removals: Sequence[Removal]) -> Iterator[str]:
    """Say what is held of a listing now, and what has been removed of it, oldest first."""
    copies = sum(photo.copy is not None for photo in listing.photos)
    if listing.hidden is None:
        photos = many(len(listing.photos), "photo")
        yield f"{listing.feed} {listing.key}: displayed, with copies of {copies:,} of {photos}"
    else:
        left = f" (by the MLS at {_at(listing.hidden.off_market_at)})" if listing.hidden.off_market_at else ""
        yield (
            f"{listing.feed} {listing.key}: not displayed ({listing.hidden.reason}) since "
            f"{_at(listing.hidden.since)}{left}; "
            + (f"{many(copies, 'copy', 'copies')} still held" if copies else "nothing is held")
        )
    waiting = {discard.image_id for discard in listing.discards}
    if waiting:
        yield f"  being removed: {', '.join(sorted(waiting))}"
    for one in removals:
        yield f"  {of_removal(one)}"
    if not removals:
        yield "  nothing has been removed of it"


def of_removal(one: Removal) -> str:
    """Say of one removal what the evidence holds."""
    left = f"; by the MLS at {_at(one.off_market_at)}" if one.off_market_at else ""
    status = f", status {one.mls_status}" if one.mls_status else ""
    left_over = f"{', '.join(one.remained)} could not be deleted" if one.remained else "nothing remained"
    return (
        f"image {one.image_id}: {_REASONS.get(one.reason, one.reason)} ({one.reason}{status}{left}); "
        f"last shown {_at(one.hidden_at)}, off the record {_at(one.unshown_at)}, "
        f"{many(one.objects, 'object')} deleted by {_at(one.removed_at)}; {left_over}"
    )


def _at(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else "at an unknown time"
