"""Has the variants made anew where they are of other settings, from the stored originals."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ops import pages
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.listing import Listing
from shared.stores.listings import ListingRecords


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many listings were looked at, and how many photos of how many of them are to be made anew."""

    looked_at: int = 0
    listings: int = 0
    photos: int = 0


def due_again(listing: Listing, rendering: str, now: datetime) -> Listing | None:
    """Return the listing with photos of other settings due now; None where it has none. Pure."""
    changed = [
        lifecycle.rebuild(photo, now)
        for photo in listing.photos
        if photo.copy and photo.copy.rendering != rendering and photo.forced_at is None and not photo.is_claimed(now)
    ]
    return listing.with_photos(changed) if changed and listing.is_displayed else None


async def rebuild(
    listings: ListingRecords,
    feed: str,
    rendering: str,
    clock: Clock,
    *,
    dry_run: bool,
    tell: Callable[[Rebuilt], object] = lambda _: None,
) -> Rebuilt:
    """Go through a feed, page by page; doing it again does no harm. Raises StoreUnavailable and Contention."""

    def rule(listing: Listing, now: datetime) -> Listing | None:
        return due_again(listing, rendering, now)

    done = Rebuilt()
    async for page in pages.rewrite(listings, feed, rule, clock, dry_run=dry_run):
        photos = sum(photo.forced_at is not None for one in page.changed for photo in one.photos)
        done = Rebuilt(done.looked_at + len(page.read), done.listings + len(page.changed), done.photos + photos)
        tell(done)
    return done
