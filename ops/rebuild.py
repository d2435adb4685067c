"""Has the variants made anew where they are of other settings, from the stored originals."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from shared.clock import Clock
from shared.domain.listing import Listing
from shared.stores.listings import Listings

_AT_ONCE = 200
_MOST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many listings were looked at, and how many photos of how many of them are to be made anew."""

    looked_at: int = 0
    listings: int = 0
    photos: int = 0


def due_again(listing: Listing, rendering: str, now: datetime) -> Listing | None:
    """Return the listing with photos of other settings due now; None where it has none. Pure."""
    changed = [
        replace(photo, forced_at=now, not_before=now)
        for photo in listing.photos
        if photo.copy and photo.copy.rendering != rendering and photo.forced_at is None and not photo.is_claimed(now)
    ]
    return listing.with_photos(changed) if changed and listing.is_displayed else None


async def rebuild(
    listings: Listings,
    feed: str,
    rendering: str,
    clock: Clock,
    *,
    dry_run: bool,
    tell: Callable[[Rebuilt], object] = lambda _: None,
) -> Rebuilt:
    """Go through a feed, page by page; doing it again does no harm. Raises StoreUnavailable."""
    done, last = Rebuilt(), ""
    while page := await listings.page(feed, last, _AT_ONCE):
        changed = await _write(listings, list(page), rendering, clock, dry_run=dry_run)
        photos = sum(photo.forced_at is not None for one in changed for photo in one.photos)
        done = Rebuilt(done.looked_at + len(page), done.listings + len(changed), done.photos + photos)
        last = page[-1].key
        tell(done)
    return done


async def _write(
    listings: Listings, page: list[Listing], rendering: str, clock: Clock, *, dry_run: bool
) -> list[Listing]:
    """Write what has to be made anew; where another was faster, read and decide again."""
    written: list[Listing] = []
    for _ in range(_MOST_ROUNDS):
        changed = [after for one in page if (after := due_again(one, rendering, clock()))]
        refused = () if dry_run else await listings.write(changed)
        written += [one for one in changed if (one.feed, one.key) not in refused]
        if not refused:
            break
        page = list((await listings.get_many(refused)).values())
    return written
