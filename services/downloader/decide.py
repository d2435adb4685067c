"""Decides which requested photos a worker may claim, and what the outcome of an attempt changes in its listing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.downloader.outcomes import Deferred, Downloaded, Outcome, Unchanged
from shared.domain import lifecycle
from shared.domain.failures import Failure
from shared.domain.feed import Feed
from shared.domain.image import Copy, Photo
from shared.domain.listing import Listing
from shared.domain.priority import area_priority
from shared.events.codec import Event
from shared.events.images import ImageOutdated, OutdatedReason

_STORAGE_BUSY = timedelta(seconds=3)
"""When to attempt a photo again whose new copy has the same keys as objects that are being deleted."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A listing with the outcome of an attempt applied to one of its photos; the caller writes the listing.

    `copy` is the photo's copy if the outcome made or confirmed it, else None. `changed` is True if the outcome made a
    copy and the photo had no copy before, or one with other bytes.
    """

    listing: Listing
    copy: Copy | None = None
    changed: bool = False


def claimable(
    listing: Listing,
    requested: Sequence[Event[ImageOutdated]],
    worker: str,
    unavailable: Collection[str],
    now: datetime,
) -> list[Photo]:
    """Return the requested photos of a listing that the worker may claim, with the priorities that the events request.

    `requested` are the listing's events, and `worker` is the worker's name. A photo that several events request is
    returned once. A photo is left out if it needs no attempt at `now`, if another worker has claimed it, or if the
    listing no longer shows it. Photos whose ids are in `unavailable` (`InFlight.unavailable`) are left out too: this
    process may not claim them now. Nothing is written.
    """
    photos = {photo.id: photo for photo in listing.photos}
    found: dict[str, Photo] = {}
    for event in requested:
        photo = found.get(event.data.image_id) or photos.get(event.data.image_id)
        if photo is None or photo.id in unavailable:
            continue
        is_forced = event.data.reason is OutdatedReason.FORCED
        photo = lifecycle.request(photo, event.data.priority, event.time if is_forced else None)
        if lifecycle.can_claim(listing, photo, worker, now):
            found[photo.id] = photo
    return list(found.values())


def abandoned(listing: Listing, worker: str, in_flight_ids: Collection[str], now: datetime) -> list[Photo]:
    """Return the listing's photos that an earlier run of the worker claimed and did not settle, deferred until `now`.

    `worker` is the worker's name. `in_flight_ids` are the ids of the photos that this run of the worker has claimed or
    is about to claim (`InFlight.image_ids`); these photos are left out. Nothing is written: the caller writes the
    returned photos into the listing.
    """
    return [
        lifecycle.defer(photo, now)
        for photo in listing.photos
        if photo.claim is not None and photo.claim.worker == worker and photo.id not in in_flight_ids
    ]


def settle(
    listing: Listing,
    claimed: Photo,
    outcome: Outcome,
    *,
    feed: Feed,
    superseded_for: timedelta,
    now: datetime,
    jitter: float,
) -> Settled:
    """Apply the outcome of a photo's attempt to `listing`, the listing as it is now, and return the listing to write.

    `claimed` is the photo as it was claimed before the attempt. If the photo was withdrawn or claimed by another worker
    since, its record stays as it is; objects that the attempt stored get a discard. If objects with the keys of the new
    copy are being deleted, the photo is deferred for some seconds instead. `superseded_for` is how long a superseded
    copy stays public. `jitter` is a random number from 0 to 1 that spreads retries.
    """
    photo = listing.photo(claimed.id)
    if photo is None or photo.claim != claimed.claim:
        if isinstance(outcome, Downloaded):
            return Settled(lifecycle.discard_unclaimed(listing, claimed, outcome.copy, now))
        return Settled(listing)
    priority = area_priority(feed, listing.city)
    match outcome:
        case Deferred(until, url_is_used):
            after = lifecycle.settle_deferred(photo, until, url_is_used=url_is_used)
            return Settled(listing.with_photos([after]))
        case Failure():
            after = lifecycle.settle_failed(photo, claimed, outcome, feed, now, jitter)
            return Settled(listing.with_photos([after]))
        case Unchanged(etag, last_modified):
            after = lifecycle.settle_unchanged(photo, claimed, etag, last_modified, priority, now)
            settled = lifecycle.mark_unannounced(listing.with_photos([after]), photo.id, now, changed=False)
            return Settled(settled, copy=after.copy)
        case Downloaded(copy):
            after = lifecycle.settle_downloaded(photo, claimed, copy, priority, now)
            return _downloaded(listing, photo, after, now, superseded_for)


def _downloaded(listing: Listing, photo: Photo, after: Photo, now: datetime, superseded_for: timedelta) -> Settled:
    copy = after.copy
    assert copy is not None  # noqa: S101 - it was downloaded
    if any(discard.removing and discard.touches(copy) for discard in listing.discards):
        # Objects of the same keys, of an older version, are being deleted now. They must be stored again after that.
        return Settled(listing.with_photos([lifecycle.defer(photo, now + _STORAGE_BUSY)]))
    changed = photo.copy is None or photo.copy.sha256 != copy.sha256
    settled = lifecycle.supersede(listing, after, now, now + superseded_for)
    settled = lifecycle.mark_unannounced(settled, photo.id, now, changed=changed)
    return Settled(settled, copy=copy, changed=changed)
