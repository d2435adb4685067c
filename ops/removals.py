"""An operator has a listing or single images removed, for good: what is forced stays away until it is allowed again."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from shared.clock import Clock
from shared.domain.listing import Hidden, Listing, RemovalReason
from shared.domain.reconcile import whole
from shared.stores import updates
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords

Change = Callable[[Listing, datetime], Listing]


def forced(listing: Listing, now: datetime, images: Collection[str]) -> Listing:
    """Return the listing without the images, or hidden as a whole where none is named. Pure."""
    return _images_forced(listing, now, images) if images else _forced(listing, now)


def _forced(listing: Listing, now: datetime) -> Listing:
    before = listing.hidden or Hidden(reason=RemovalReason.FORCED, since=now, remove_at=now)
    hidden = replace(before, reason=RemovalReason.FORCED, remove_at=now, held_until=None)
    discards = tuple(replace(discard, remove_at=min(discard.remove_at, now)) for discard in listing.discards)
    return replace(listing, is_removed_by_operator=True, hidden=hidden, discards=discards)


def _images_forced(listing: Listing, now: datetime, images: Collection[str]) -> Listing:
    left = [photo for photo in listing.photos if photo.id not in images]
    gone = [whole(photo, RemovalReason.FORCED, listing.hidden, now) for photo in listing.photos if photo.id in images]
    return replace(
        listing,
        photos=tuple(replace(photo, order=order) for order, photo in enumerate(left)),
        discards=(*listing.discards, *gone),
        removed_image_ids=tuple(dict.fromkeys((*listing.removed_image_ids, *images))),
    )


def allowed(listing: Listing, _: datetime, images: Collection[str]) -> Listing:
    """Return the listing with what was forced lifted, of the images, or of all where none is named. Pure.

    What the MLS said last is forgotten, so that whatever it says next counts, though it be the same again.
    """
    return replace(
        listing,
        is_removed_by_operator=listing.is_removed_by_operator and bool(images),
        removed_image_ids=tuple(image for image in listing.removed_image_ids if images and image not in images),
        modified_at=None,
        media_changed_at=None,
        position=None,
    )


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
