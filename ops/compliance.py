"""Describes in words how many photos of a listing have a copy, and the evidence of the listing's removals."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from ops.words import counted
from shared.domain.listing import Listing
from shared.stores.removals import Removal

_REASONS = {
    "listing-inactive": "the listing left the market",
    "photo-withdrawn": "the listing no longer had the photo",
    "opt-out": "the owner opted out of display on the internet",
    "superseded": "a newer version had taken its place",
    "forced": "an operator had it removed",
}


def describe_listing(listing: Listing, removals: Sequence[Removal]) -> Iterator[str]:
    """Yield the lines about a listing: the number of its copies, the images being removed, then its removals. Pure.

    `removals` is the evidence of this listing's removals; the lines about removals have the order of `removals`.
    """
    copies = sum(photo.copy is not None for photo in listing.photos)
    if listing.hidden is None:
        photos = counted(len(listing.photos), "photo")
        yield f"{listing.feed} {listing.key}: displayed, with copies of {copies:,} of {photos}"
    else:
        off_market = f" (by the MLS at {_at(listing.hidden.off_market_at)})" if listing.hidden.off_market_at else ""
        yield (
            f"{listing.feed} {listing.key}: not displayed ({listing.hidden.reason}) since "
            f"{_at(listing.hidden.since)}{off_market}; "
            + (f"{counted(copies, 'copy', 'copies')} still held" if copies else "nothing is held")
        )
    discarded = {discard.image_id for discard in listing.discards}
    if discarded:
        yield f"  being removed: {', '.join(sorted(discarded))}"
    for removal in removals:
        yield f"  {describe_removal(removal)}"
    if not removals:
        yield "  nothing has been removed of it"


def describe_removal(removal: Removal) -> str:
    """Return one line of text about the removal of one image: its reason and times, and how many objects were deleted.

    The line names the image, but not its feed and ListingKey: the caller prints them.
    """
    off_market = f"; by the MLS at {_at(removal.off_market_at)}" if removal.off_market_at else ""
    status = f", status {removal.mls_status}" if removal.mls_status else ""
    remained = f"{', '.join(removal.remained)} could not be deleted" if removal.remained else "nothing remained"
    return (
        f"image {removal.image_id}: {_REASONS.get(removal.reason, removal.reason)} "
        f"({removal.reason}{status}{off_market}); "
        f"last shown {_at(removal.hidden_at)}, off the record {_at(removal.unshown_at)}, "
        f"{counted(removal.objects, 'object')} deleted by {_at(removal.removed_at)}; {remained}"
    )


def _at(time: datetime | None) -> str:
    return time.isoformat(timespec="seconds") if time else "at an unknown time"
