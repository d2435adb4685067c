"""Which photos does a batch claim, and what do its outcomes leave of the listing? Pure."""

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
_RECENT = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Settled:
    """A listing after an outcome was written into it. `copy` is set where it now holds a good one, `changed` if new."""

    listing: Listing
    copy: Copy | None = None
    changed: bool = False


def wanted(
    listing: Listing, asked: Sequence[Event[ImageOutdated]], worker: str, at_work: Collection[str], now: datetime
) -> list[Photo]:
    """Return the photos that may be claimed, as asked for; what is stale, doubled, removed or in work falls out."""
    photos = {photo.id: photo for photo in listing.photos}
    found: dict[str, Photo] = {}
    for event in asked:
        photo = found.get(event.data.image_id) or photos.get(event.data.image_id)
        if photo is None or photo.id in at_work:
            continue
        is_forced = event.data.reason is OutdatedReason.FORCED
        photo = lifecycle.request(photo, event.data.priority, event.time if is_forced else None)
        if lifecycle.can_claim(listing, photo, worker, now):
            found[photo.id] = photo
    return list(found.values())


def abandoned(listing: Listing, worker: str, at_work: Collection[str], now: datetime) -> list[Photo]:
    """Return, due now, the photos that an earlier life of the worker had in hand."""
    return [
        lifecycle.defer(photo, now)
        for photo in listing.photos
        if photo.claim is not None and photo.claim.worker == worker and photo.id not in at_work
    ]


def left_unsaid(listing: Listing, asked: Sequence[Event[ImageOutdated]], started_at: datetime) -> list[Photo]:
    """Return photos that a worker before this one may have finished without living to say so."""
    ids = {event.data.image_id for event in asked if event.time < started_at}
    return [
        photo
        for photo in listing.photos
        if photo.id in ids and photo.copy and started_at - _RECENT < photo.copy.checked_at < started_at
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
    """Write what came of a claimed photo into its listing as that is now."""
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
            return Settled(listing.with_photos([after]), copy=after.copy)
        case Downloaded(copy):
            after = lifecycle.settle_downloaded(photo, claimed, copy, priority, now)
            return _downloaded(listing, photo, after, now, superseded_for)


def _downloaded(listing: Listing, photo: Photo, after: Photo, now: datetime, superseded_for: timedelta) -> Settled:
    copy = after.copy
    assert copy is not None  # noqa: S101 - it was downloaded
    if any(discard.removing and discard.touches(copy) for discard in listing.discards):
        # The same bytes as a version whose objects are disappearing right now: store them again once it is over.
        return Settled(listing.with_photos([lifecycle.defer(photo, now + _STORAGE_BUSY)]))
    left = lifecycle.supersede(listing, after, now, now + superseded_for)
    return Settled(left, copy=copy, changed=photo.copy is None or photo.copy.sha256 != copy.sha256)
