"""Removes listings or single photos as an operator orders, until an operator allows them again."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from ops.words import counted
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.listing import Listing
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.listings import ListingRecords
from shared.stores.updates import OptimisticUpdate

Change = Callable[[Listing, datetime], Listing]
"""Takes a listing and the time; returns the changed listing."""


def remove(listing: Listing, now: datetime, image_ids: Collection[str]) -> Listing:
    """Return the listing with the photos of these image ids removed; without ids, with the whole listing hidden. Pure.

    The photos or the listing are not shown again before `allow_again`, whatever the MLS announces. The copies are
    deleted after the listing was written to MongoDB.
    """
    return lifecycle.remove_photos(listing, image_ids, now) if image_ids else lifecycle.remove_listing(listing, now)


def allow_again(listing: Listing, _: datetime, image_ids: Collection[str]) -> Listing:
    """Return the listing with the photos of these image ids allowed to be shown again, after `remove`. Pure.

    Without ids, the listing itself and all its photos are allowed. Nothing is shown again before the MLS's next
    announcement, which may be equal to the last one. The second argument, the time, is not used: `change` passes it to
    every rule.
    """
    return lifecycle.allow_again(listing, image_ids)


def is_removed(listing: Listing, image_ids: Collection[str]) -> bool:
    """Return True if one of the photos with these image ids is removed by an operator's order. Pure.

    Without ids, return True if the listing or any photo of it is removed by an operator's order. What an operator has
    allowed again does not count.
    """
    if image_ids:
        return not set(image_ids).isdisjoint(listing.removed_image_ids)
    return listing.is_removed_by_operator or bool(listing.removed_image_ids)


async def change(
    listings: ListingRecords, ids: Sequence[ListingId], rule: Change, clock: Clock
) -> list[Listing]:  # fmt: skip
    """Apply a rule to recorded listings, write the results to MongoDB, and return them in the order of `ids`.

    `rule` takes a listing and the time, and returns the changed listing. All `ids` must be recorded. Raises
    StoreUnavailable. Raises Contention after all other listings are written, if others changed some listings
    before each attempt to write them; the error names these listings.
    """
    written, attempts = dict[ListingId, Listing](), OptimisticUpdate(listings, ids)
    try:
        async for readings in attempts:
            changed = [rule(listing, clock()) for listing in readings.values()]
            written |= {(listing.feed, listing.key): listing for listing in await attempts.write(changed)}
    except Contention:
        keys = ", ".join(sorted(key for _, key in attempts.ids))
        count = counted(len(attempts.ids), "listing was", "listings were")
        raise Contention(f"{count} not written ({keys}): others changed them before each attempt") from None
    return [written[listing_id] for listing_id in ids]
