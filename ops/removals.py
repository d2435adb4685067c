"""Removes listings or single photos as an operator orders, until an operator allows them again."""

from collections.abc import Callable, Collection
from datetime import datetime

from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.listing import Listing
from shared.stores import updates
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords

Change = Callable[[Listing, datetime], Listing]
"""Takes a listing and the time; returns the listing changed."""


def remove(listing: Listing, now: datetime, image_ids: Collection[str]) -> Listing:
    """Return the listing without these photos; hidden as a whole if none is named. Pure."""
    return lifecycle.remove_photos(listing, image_ids, now) if image_ids else lifecycle.remove_listing(listing, now)


def allow_again(listing: Listing, _: datetime, image_ids: Collection[str]) -> Listing:
    """Return the listing with these photos allowed again; with all that was removed of it if none is named. Pure."""
    return lifecycle.allow_again(listing, image_ids)


def is_removed(listing: Listing, image_ids: Collection[str]) -> bool:
    """Return True if an operator removed one of these photos; without ids, if an operator removed anything of it."""
    if image_ids:
        return not set(image_ids).isdisjoint(listing.removed_image_ids)
    return listing.is_removed_by_operator or bool(listing.removed_image_ids)


async def change(listings: ListingRecords, listing_id: ListingId, rule: Change, clock: Clock) -> Listing:
    """Apply a rule to a recorded listing, write the result, and return it. Raises StoreUnavailable and Contention."""
    (written,) = await updates.update(listings, [listing_id], lambda listing: rule(listing, clock()))
    return written
