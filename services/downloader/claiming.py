"""Claims requested photos for this worker, one for each download that the feed's budget grants."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.downloader import decide
from services.downloader.feed_queue import Requested
from services.downloader.in_flight import Claims, InFlight
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.feed import Feed
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.domain.priority import Priority, most_urgent
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.downloads import DownloadBatch, GrantedDownload
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.listings import ListingRecords
from shared.stores.updates import OptimisticUpdate

Readings = Mapping[ListingId, Listing]
Claimable = Mapping[ListingId, Sequence[Photo]]


@dataclass(frozen=True, slots=True)
class ClaimedPhoto:
    """A photo with this worker's claim, and the download that the feed's budget granted for it."""

    photo: Photo
    download: GrantedDownload


@dataclass(frozen=True, slots=True)
class ClaimedListing:
    """The photos of one listing that were claimed together.

    `claims` keeps these photos registered as claimed in this process's InFlight, until `claims` is closed.
    """

    listing_id: ListingId
    photos: Sequence[ClaimedPhoto]
    claims: Claims


@dataclass(frozen=True, slots=True)
class Claimed:
    """The result of `Claimer.claim`.

    `batch` holds the granted downloads; it is None if the budget granted none. The caller must give the batch back to
    the budget even if no photo was claimed. `listings` holds the claimed photos. `unfinished` are listings that the
    caller must read and claim again: the budget did not grant a download for each of their photos yet, or other
    processes changed them.
    """

    batch: DownloadBatch | None = None
    listings: Sequence[ClaimedListing] = ()
    unfinished: Collection[ListingId] = ()


class Claimer:
    """Claims photos of one feed for this worker: the photos that the events of one subscription request."""

    def __init__(
        self,
        feed: Feed,
        listings: ListingRecords,
        budget: OriginBudget,
        in_flight: InFlight,
        worker: str,
        clock: Clock,
        *,
        is_viewed: bool,
    ) -> None:
        """`worker` is this worker's name. `is_viewed` is True if the events come from `image-outdated.viewed`."""
        self._feed = feed
        self._listings = listings
        self._budget = budget
        self._in_flight = in_flight
        self._worker = worker
        self._clock = clock
        self._is_viewed = is_viewed

    def claimable(self, readings: Readings, requested: Requested) -> Claimable:
        """Return the requested photos that may be claimed now, by listing; nothing is written.

        `readings` are the requested listings as they were just read, and `requested` are the events of each listing.
        """
        return self._claimable(readings, requested, self._in_flight.unavailable(is_viewed=self._is_viewed), None)

    async def claim(
        self, readings: Readings, requested: Requested, wait_seconds: float, urls: Mapping[str, str] | None = None
    ) -> Claimed:
        """Take downloads from the feed's budget for the requested photos, and claim a photo for each granted download.

        `readings` are the requested listings as they were just read. A listing that is not recorded is missing in
        `readings`, and skipped. `requested` are the events of each listing. `urls` maps photo ids to URLs that were
        just read: each photo is then claimed with its URL, and a photo without a URL is claimed only for a rebuild. If
        `urls` is None, photos are claimed with their recorded URLs.

        Wait up to `wait_seconds` for the budget: to wait is cheaper than to defer, which costs a write and another
        release. If the budget grants no download in that time, defer all photos that could be claimed. If no photo can
        be claimed, return an empty Claimed at once.

        Raises StoreUnavailable if the database does not answer. Raises Contention if no photo was claimed because other
        processes changed the listings before each write.
        """
        unavailable = self._in_flight.unavailable(is_viewed=self._is_viewed)
        claimable = self._claimable(readings, requested, unavailable, urls)
        photos = [photo for photos in claimable.values() for photo in photos]
        if not photos:
            return Claimed()
        with self._in_flight.waiting({photo.id for photo in photos}, is_viewed=self._is_viewed):
            batch = await self._budget.take(
                self._feed,
                len(photos),
                _priority(photos),
                wait_seconds,
                failed_before=all(photo.failure for photo in photos),
            )
            try:
                if not batch.downloads:
                    until = batch.ask_again_at or self._clock()
                    return Claimed(unfinished=await self.defer(readings, claimable, until))
                claimed = await self._claim_granted(readings, requested, claimable, batch.downloads, urls)
            except BaseException:
                await self._budget.give_back(batch)
                raise
        counts = {listing.listing_id: len(listing.photos) for listing in claimed}
        unfinished = [listing_id for listing_id, photos in claimable.items() if counts.get(listing_id, 0) < len(photos)]
        return Claimed(batch, claimed, unfinished)

    def _claimable(
        self,
        readings: Readings,
        requested: Requested,
        unavailable: Collection[str],
        urls: Mapping[str, str] | None,
    ) -> dict[ListingId, list[Photo]]:
        now = self._clock()
        found = {
            listing_id: decide.claimable(listing, requested[listing_id], self._worker, unavailable, now)
            for listing_id, listing in readings.items()
        }
        if urls is not None:
            found = {listing_id: _with_urls(photos, urls) for listing_id, photos in found.items()}
        return {listing_id: photos for listing_id, photos in found.items() if photos}

    async def defer(self, readings: Readings, claimable: Claimable, until: datetime) -> Collection[ListingId]:
        """Write all `claimable` photos as deferred until the time `until`; return the listings that were not written.

        `readings` are the listings as they were read, and `claimable` the photos to defer of each listing. A listing is
        not written if another process has changed it since it was read.
        """
        return await self._listings.write(
            readings[listing_id].with_photos([lifecycle.defer(photo, until) for photo in photos])
            for listing_id, photos in claimable.items()
        )

    async def _claim_granted(
        self,
        readings: Readings,
        requested: Requested,
        claimable: Claimable,
        downloads: Sequence[GrantedDownload],
        urls: Mapping[str, str] | None,
    ) -> Sequence[ClaimedListing]:
        """Claim a claimable photo for each of the granted `downloads`, in MongoDB, and return the claimed listings.

        `readings` are the listings as they were read, and `requested` are the events of each listing. `claimable` are
        the photos of each listing for which the budget was asked; there may be more of them than `downloads`. `urls`
        are the same as for `claim`.

        If another process changes a listing before its claims are written, this method reads the listing again. It then
        tries to claim the same photos with the downloads that are still unused. The result may have fewer photos than
        `downloads`; the caller frees the other downloads with the batch. Raises Contention if no photo could be claimed
        because the listings changed before each write.
        """
        claimed: dict[ListingId, ClaimedListing] = {}
        image_ids = {photo.id for photos in claimable.values() for photo in photos}
        update = OptimisticUpdate(self._listings, list(claimable), readings)
        try:
            async for current in update:
                if current is not readings:
                    claimable = self._still_claimable(current, requested, image_ids, urls)
                # Registered before the write: the other subscription may read the claim before we know that it is
                # written, and take it for the claim of an earlier run of this worker.
                shares = self._share_out(claimable, downloads)
                claimed |= shares
                written = await update.write(_with_claims(current, shares.values()))
                for listing_id in shares.keys() - {(listing.feed, listing.key) for listing in written}:
                    claimed.pop(listing_id).claims.close()
                used = {photo.download.slot for listing in claimed.values() for photo in listing.photos}
                downloads = [download for download in downloads if download.slot not in used]
        except Contention:
            if not claimed:
                raise
        except BaseException:
            for listing in claimed.values():
                listing.claims.close()
            raise
        return list(claimed.values())

    def _still_claimable(
        self,
        readings: Readings,
        requested: Requested,
        image_ids: Collection[str],
        urls: Mapping[str, str] | None,
    ) -> Claimable:
        """Return the photos, by listing, that may still be claimed after other processes changed their listings.

        `readings` are these listings as they were read again, and `requested` are the events of each listing.
        `image_ids` are the ids of the photos for which the budget was asked: only these photos are returned. `urls` are
        the same as for `claim`.
        """
        unavailable = self._in_flight.unavailable(is_viewed=self._is_viewed, except_waiting=image_ids)
        claimable = self._claimable(readings, requested, unavailable, urls)
        # A photo that became available meanwhile must not take the grant of a photo whose listing is not read again.
        return {
            listing_id: [photo for photo in photos if photo.id in image_ids] for listing_id, photos in claimable.items()
        }

    def _share_out(self, claimable: Claimable, downloads: Sequence[GrantedDownload]) -> dict[ListingId, ClaimedListing]:
        """Assign each download to a photo, register these photos as claimed in InFlight, and return them by listing.

        `claimable` are the photos of each listing. Photos whose last attempt did not fail get a download first. Each
        returned photo has its claim and its download. A photo without a download is left out. If there are more
        downloads than photos, the last downloads stay unused. No listing is written.
        """
        now = self._clock()
        photos = [
            (listing_id, photo)
            for listing_id, photos in claimable.items()
            for photo in photos
            if not self._in_flight.is_claimed(photo.id)  # the other subscription may have claimed it meanwhile
        ]
        # Photos that have not failed come first: a single grant may be the probe of an origin behind an open breaker.
        photos.sort(key=lambda pair: pair[1].failure is not None)
        shares: dict[ListingId, list[ClaimedPhoto]] = {}
        for (listing_id, photo), download in zip(photos, downloads, strict=False):
            download.image_id = photo.id
            claimed = ClaimedPhoto(lifecycle.claim(photo, self._worker, self._feed, now), download)
            shares.setdefault(listing_id, []).append(claimed)
        return {
            listing_id: ClaimedListing(
                listing_id, photos, self._in_flight.claim(claimed.photo.id for claimed in photos)
            )
            for listing_id, photos in shares.items()
        }


def _with_urls(photos: Sequence[Photo], urls: Mapping[str, str]) -> list[Photo]:
    """Return the photos that have a fresh URL, with this URL, and the photos that need a rebuild only.

    `urls` maps photo ids to fresh URLs. A photo that needs a URL and has none in `urls` is left out.
    """
    return [
        lifecycle.refresh_url(photo, urls[photo.id]) if photo.id in urls else photo
        for photo in photos
        if photo.id in urls or photo.wants_rebuild
    ]


def _with_claims(readings: Readings, claimed_listings: Iterable[ClaimedListing]) -> Iterable[Listing]:
    for listing in claimed_listings:
        yield readings[listing.listing_id].with_photos([claimed.photo for claimed in listing.photos])


def _priority(photos: Sequence[Photo]) -> Priority:
    """Return the one priority with which to ask the budget for downloads of all `photos`, which must not be empty.

    If all photos are viewed, the priority is VIEWED. If only some are, it is the most urgent priority of the others,
    because a download granted for VIEWED may use the reserve, and could go to a photo that is not viewed.
    """
    priorities = {photo.priority for photo in photos}
    return most_urgent(*priorities - {Priority.VIEWED}) if len(priorities) > 1 else most_urgent(*priorities)
