"""An operator wants photos fetched again: which are due now, and what does it cost?"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ops import pages
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.failures import Reason
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.listing_search import ListingSearch
from shared.stores.listings import ListingRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which photos: all filters that are given must fit. With none, all of the feed."""

    listing_keys: tuple[str, ...] = ()
    failed: Reason | None = None
    city: str | None = None

    def covers(self, listing: Listing) -> bool:
        """Whether the listing is meant."""
        is_city = self.city is None or (listing.city or "").strip().casefold() == self.city.strip().casefold()
        return is_city and (not self.listing_keys or listing.key in self.listing_keys)

    def covers_photo(self, photo: Photo) -> bool:
        """Whether the photo, of a listing that is meant, is meant."""
        return self.failed is None or (photo.failure is not None and photo.failure.reason is self.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """What came of it, or would: `photos` are due now, the rest of what was meant cannot be had."""

    looked_at: int = 0
    listings: int = 0
    photos: int = 0
    in_work: int = 0
    """In a downloader's hands right now."""
    not_to_be_had: int = 0
    """Their URL works once and was used, or their objects are still being removed."""
    hidden: int = 0
    """Listings that are not displayed: they are left alone."""
    sized: int = 0
    bytes_sized: int = 0

    @property
    def bytes_expected(self) -> int | None:
        """About how many bytes will come: a photo without a known size counts as the average. None: nothing known."""
        return round(self.bytes_sized / self.sized * self.photos) if self.sized else None

    def __add__(self, other: "Forced") -> "Forced":
        return Forced(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


def due_again(listing: Listing, wanted: Wanted, priority: Priority, now: datetime) -> Listing | None:
    """Return the listing with what is wanted of it due now; None where nothing is. Pure."""
    chosen = _chosen(listing, wanted, now)
    forced = [lifecycle.force(photo, priority, now) for photo in chosen]
    due = [photo for photo in forced if listing.photo_due_at(photo)]
    return listing.with_photos(due) if due else None


def _chosen(listing: Listing, wanted: Wanted, now: datetime) -> list[Photo]:
    if not listing.is_displayed or not wanted.covers(listing):
        return []
    return [photo for photo in listing.photos if wanted.covers_photo(photo) and not photo.is_claimed(now)]


async def force(
    listings: ListingRecords,
    feed: str,
    wanted: Wanted,
    priority: Priority,
    clock: Clock,
    *,
    dry_run: bool,
    tell: Callable[[Forced], object] = lambda _: None,
) -> Forced:
    """Go through a feed, page by page; doing it again does no harm. Raises StoreUnavailable and Contention."""

    def rule(listing: Listing, now: datetime) -> Listing | None:
        return due_again(listing, wanted, priority, now)

    done = Forced()
    async for page in pages.rewrite(listings, feed, rule, clock, keys=wanted.listing_keys, dry_run=dry_run):
        done += _count(page, wanted)
        tell(done)
    return done


def _count(page: pages.Page, wanted: Wanted) -> Forced:
    now = page.at
    meant = [one for one in page.read if wanted.covers(one)]
    shown = [one for one in meant if one.is_displayed]
    photos = [photo for one in page.changed for photo in one.photos if photo.forced_at == now]
    wanting = sum(len(_chosen(one, wanted, now)) for one in shown)
    sizes = [photo.copy.file_size for one in page.read for photo in one.photos if photo.copy]
    return Forced(
        looked_at=len(page.read),
        listings=len(page.changed),
        photos=len(photos),
        in_work=sum(wanted.covers_photo(photo) and photo.is_claimed(now) for one in shown for photo in one.photos),
        not_to_be_had=max(0, wanting - len(photos)),
        hidden=len(meant) - len(shown),
        sized=len(sizes),
        bytes_sized=sum(sizes),
    )


async def left_out(
    listings: ListingSearch, keys: Sequence[str], chosen: Collection[str], feeds: Collection[str]
) -> AsyncIterator[str]:
    """Say why listings that are named are not among those of the chosen feeds. Raises StoreUnavailable."""
    for key in dict.fromkeys(keys):
        recorded = sorted(one.feed for one in await listings.by_key(key))
        if not recorded:
            yield f"{key} is not recorded; see: imagectl explain {key}"
        elif known := [feed for feed in recorded if feed in feeds]:
            if not set(known) & set(chosen):
                yield f"{key} is recorded of feed {', '.join(known)}; name that with --feed"
        else:
            gone = ", ".join(recorded)
            yield f"{key} is recorded of feed {gone}, which is not among the feeds any more: nothing of it is fetched"
