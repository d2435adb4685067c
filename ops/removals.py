"""An operator has a listing or single images removed, for good: what is forced stays away until it is allowed again."""

from collections.abc import Callable, Collection
from datetime import datetime

from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.listing import Listing
from shared.stores import updates
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords

Change = Callable[[Listing, datetime], Listing]


def forced(listing: Listing, now: datetime, images: Collection[str]) -> Listing:
    """Return the listing without the images, or hidden as a whole where none is named. Pure."""
    return lifecycle.remove_photos(listing, images, now) if images else lifecycle.remove_listing(listing, now)


def allowed(listing: Listing, _: datetime, images: Collection[str]) -> Listing:
    """Return the listing with what was forced lifted, of the images, or of all where none is named. Pure."""
    return lifecycle.allow_again(listing, images)


def is_anything_forced(listing: Listing, images: Collection[str]) -> bool:
    """Whether there is anything to lift."""
    return (
        not set(images).isdisjoint(listing.removed_image_ids)
        if images
        else listing.is_removed_by_operator or bool(listing.removed_image_ids)
    )


async def change(listings: ListingRecords, one: ListingId, rule: Change, clock: Clock) -> Listing:
    """Apply a rule to a listing and write the result; return it. Raises StoreUnavailable and Contention."""
    (written,) = await updates.update(listings, [one], lambda listing: rule(listing, clock()))
    return written
