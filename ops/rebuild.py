"""Rebuilds photos whose variants were made by other settings, from their stored originals."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime

from ops import pages
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.listing import Listing
from shared.stores.listings import ListingRecords


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Counts the listings that were read, and those with photos that are marked for a rebuild.

    In a dry run, the photos that would be marked are counted.
    """

    looked_at: int = 0
    listings: int = 0
    photos: int = 0


def rebuild_photos(listing: Listing, renderings: Container[str], now: datetime) -> Listing | None:
    """Return the listing with each photo due for a rebuild whose copy has none of the `renderings`. Pure.

    `renderings` are the renderings of the variants setting in force, as `current_renderings` returns them. Photos
    without a copy, photos that are forced, and photos that are claimed at the time `now` stay as they are. Returns None
    if no photo is to be rebuilt, or the listing is hidden.
    """
    changed = [
        lifecycle.rebuild(photo, now)
        for photo in listing.photos
        if photo.copy
        and photo.copy.rendering not in renderings
        and photo.forced_at is None
        and not photo.is_claimed(now)
    ]
    return listing.with_photos(changed) if changed and listing.is_displayed else None


async def rebuild(
    listings: ListingRecords,
    feed: str,
    renderings: Container[str],
    clock: Clock,
    *,
    dry_run: bool,
    on_progress: Callable[[Rebuilt], object] = lambda _: None,
) -> Rebuilt:
    """Mark in MongoDB all photos of a feed for a rebuild whose copies have none of the `renderings`.

    Returns the counts. A dry run only counts. `on_progress` is called after each page with the counts so far. Raises
    StoreUnavailable; and Contention, after the last page, if others kept changing a listing.
    """

    def rule(listing: Listing, now: datetime) -> Listing | None:
        return rebuild_photos(listing, renderings, now)

    rebuilt = Rebuilt()
    async for page in pages.rewrite(listings, feed, rule, clock, dry_run=dry_run):
        photos = sum(photo.forced_at is not None for listing in page.changed for photo in listing.photos)
        rebuilt = Rebuilt(
            rebuilt.looked_at + len(page.read), rebuilt.listings + len(page.changed), rebuilt.photos + photos
        )
        on_progress(rebuilt)
    return rebuilt
