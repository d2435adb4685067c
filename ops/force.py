"""Forces photos: makes them due although nothing newer was announced, and estimates the bytes of their downloads."""

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
class PhotoFilter:
    """Selects the photos of a feed that meet all conditions; an empty condition, or None, is met by all photos.

    `failed` is the reason of the photo's last failure; `city` is the listing's city.
    """

    listing_keys: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()
    failed: Reason | None = None
    city: str | None = None

    def selects_listing(self, listing: Listing) -> bool:
        """Return True if the listing has one of the filter's ListingKeys and is in the filter's city.

        A filter without ListingKeys accepts every ListingKey, and one without a city accepts every city.
        """
        is_city = self.city is None or (listing.city or "").strip().casefold() == self.city.strip().casefold()
        return is_city and (not self.listing_keys or listing.key in self.listing_keys)

    def selects(self, photo: Photo) -> bool:
        """Return True if the photo has one of the filter's ids and its last attempt failed for the filter's reason.

        A filter without ids accepts every id, and one without a reason accepts every photo. The photo's listing is not
        checked.
        """
        is_reason = self.failed is None or (photo.failure is not None and photo.failure.reason is self.failed)
        return is_reason and (not self.image_ids or photo.id in self.image_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """Counts the photos that were forced, or would be by a dry run, and the photos and listings that were left alone.

    `imagectl force --json` prints the names of these fields.
    """

    looked_at: int = 0
    """Listings that were read."""
    listings: int = 0
    photos: int = 0
    """Photos that are due now."""
    in_work: int = 0
    """Selected photos that a downloader has claimed, which are left alone."""
    not_to_be_had: int = 0
    """Selected photos that cannot be attempted: the single-use URL was used, or their objects are being removed."""
    hidden: int = 0
    """Selected listings that are not displayed, which are left alone."""
    sized: int = 0
    """Copies of known size, whose bytes are in `bytes_sized`."""
    bytes_sized: int = 0

    @property
    def bytes_expected(self) -> int | None:
        """About how many bytes the downloads of all photos counted here receive together; None if unknown.

        It is the number of photos times the average size of the copies that are held; unknown if no copy is held.
        """
        return round(self.bytes_sized / self.sized * self.photos) if self.sized else None

    def __add__(self, other: "Forced") -> "Forced":
        return Forced(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


def force_photos(listing: Listing, selected: PhotoFilter, priority: Priority, now: datetime) -> Listing | None:
    """Return the listing with its selected photos forced, and due at the time `now` with `priority`. Pure.

    Photos that a downloader has claimed, photos that cannot be attempted, and all photos of a hidden listing stay as
    they are. Returns None if no photo is forced.
    """
    forced = forced_photos(listing, selected, priority, now)
    return listing.with_photos(forced) if forced else None


def forced_photos(listing: Listing, selected: PhotoFilter, priority: Priority, now: datetime) -> list[Photo]:
    """Return the photos that `force_photos` would change, as it would leave them. Pure."""
    forced = (lifecycle.force(photo, priority, now) for photo in _free_photos(listing, selected, now))
    return [photo for photo in forced if listing.photo_due_at(photo)]


def _free_photos(listing: Listing, selected: PhotoFilter, now: datetime) -> list[Photo]:
    """Return the listing's selected photos that nobody has claimed at the time `now`; none if the listing is hidden."""
    if not listing.is_displayed or not selected.selects_listing(listing):
        return []
    return [photo for photo in listing.photos if selected.selects(photo) and not photo.is_claimed(now)]


async def force(
    listings: ListingRecords,
    feed: str,
    selected: PhotoFilter,
    priority: Priority,
    clock: Clock,
    *,
    dry_run: bool,
    on_progress: Callable[[Forced], object] = lambda _: None,
) -> Forced:
    """Force the selected photos of a feed in MongoDB, page by page, and return the counts.

    `feed` is the feed's name, `priority` the priority that the forced photos get. A photo that is forced already is
    forced again. A dry run only counts. `on_progress` is called after each page with the counts so far. Raises
    StoreUnavailable. Raises Contention, after the last page, if others kept changing a listing.
    """

    def rule(listing: Listing, now: datetime) -> Listing | None:
        return force_photos(listing, selected, priority, now)

    forced = Forced()
    async for page in pages.rewrite(listings, feed, rule, clock, keys=selected.listing_keys, dry_run=dry_run):
        forced += _count(page, selected)
        on_progress(forced)
    return forced


def _count(page: pages.Page, selected: PhotoFilter) -> Forced:
    listings = [listing for listing in page.read if selected.selects_listing(listing)]
    displayed = [listing for listing in listings if listing.is_displayed]
    photos = [photo for listing in displayed for photo in listing.photos if selected.selects(photo)]
    claimed = sum(photo.is_claimed(page.at) for photo in photos)
    forced = sum(photo.forced_at == page.at for listing in page.changed for photo in listing.photos)
    sizes = [photo.copy.file_size for listing in page.read for photo in listing.photos if photo.copy]
    return Forced(
        looked_at=len(page.read),
        listings=len(page.changed),
        photos=forced,
        in_work=claimed,
        not_to_be_had=max(0, len(photos) - claimed - forced),
        hidden=len(listings) - len(displayed),
        sized=len(sizes),
        bytes_sized=sum(sizes),
    )


async def explain_left_out(
    listings: ListingSearch, listing_keys: Sequence[str], selected_feeds: Collection[str], feeds: Collection[str]
) -> AsyncIterator[str]:
    """Yield a line for each ListingKey that no selected feed has: where the key is recorded, and what to do.

    `selected_feeds` are the names of the feeds in which photos were forced, `feeds` the names of all in feeds.toml.
    Raises StoreUnavailable.
    """
    for key in dict.fromkeys(listing_keys):
        recorded = sorted(listing.feed for listing in await listings.by_key(key))
        if not recorded:
            yield f"{key} is not recorded; see: imagectl explain {key}"
        elif configured := [feed for feed in recorded if feed in feeds]:
            if not set(configured) & set(selected_feeds):
                yield f"{key} is recorded of feed {', '.join(configured)}; name that with --feed"
        else:
            former = ", ".join(recorded)
            yield f"{key} is recorded of feed {former}, which is not among the feeds any more: nothing of it is fetched"
