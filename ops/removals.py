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
"""Takes a listing and the time; returns the listing changed."""


def remove(listing: Listing, now: datetime, image_ids: Collection[str]) -> Listing:
    """Return the listing with the photos of these image ids removed; without ids, with the whole listing hidden. Pure.

    The photos or the listing stay away, whatever the MLS announces, until `allow_again`. Their copies are deleted
    later, once the listing is written.
    """
    return lifecycle.remove_photos(listing, image_ids, now) if image_ids else lifecycle.remove_listing(listing, now)


def allow_again(listing: Listing, _: datetime, image_ids: Collection[str]) -> Listing:
    """Return the listing with the photos of these image ids allowed to be shown again, after `remove`. Pure.

    Without ids, the listing itself and all its photos are allowed. Nothing is shown again at once: the MLS's next
    announcement shows it, even if that is equal to the last. The second argument, the time, is not used; it is there
    for `change`, whose rules get it.
    """
    return lifecycle.allow_again(listing, image_ids)


def is_removed(listing: Listing, image_ids: Collection[str]) -> bool:
    """Return True if an operator removed one of the photos of these image ids, and did not allow it again. Pure.

    Without ids, True if an operator removed the listing or any photo of it.
    """
    if image_ids:
        return not set(image_ids).isdisjoint(listing.removed_image_ids)
    return listing.is_removed_by_operator or bool(listing.removed_image_ids)


async def change(
    listings: ListingRecords, ids: Sequence[ListingId], rule: Change, clock: Clock
) -> list[Listing]:  # fmt: skip
    """Apply a rule to recorded listings, write the results to MongoDB, and return them in the order of `ids`.

    `rule` takes a listing and the time, and returns the listing changed. All `ids` must be recorded. Raises
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
