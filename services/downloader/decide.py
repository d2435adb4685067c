"""Which photos does a batch claim, and what do its outcomes leave of the listing? Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.downloader.outcomes import Deferred, Downloaded, Outcome, Unchanged
from shared.domain import lifecycle
from shared.domain.failures import Failure
from shared.domain.feed import Feed
from shared.domain.image import Copy, Photo
from shared.domain.listing import Discard, Listing, RemovalReason, superseded
from shared.domain.priority import area_priority
from shared.events.codec import Event
from shared.events.images import ImageOutdated, OutdatedReason

_STORAGE_BUSY = timedelta(seconds=3)
_LOST_CLAIM_KEPT = timedelta(hours=1)
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
        return Settled(_not_ours(listing, claimed, outcome, now))
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
    discards = [_spared(discard, copy) for discard in listing.discards]
    discards.append(superseded(photo, copy, now, now + superseded_for))
    left = replace(listing.with_photos([after]), discards=tuple(discard for discard in discards if discard))
    return Settled(left, copy=copy, changed=photo.copy is None or photo.copy.sha256 != copy.sha256)


def _spared(discard: Discard, copy: Copy) -> Discard | None:
    """Return what is still to be removed: nothing that the new copy uses again."""
    left = discard.without(copy)
    return left if left.whole or left.public_keys or left.original_keys else None


def _not_ours(listing: Listing, claimed: Photo, outcome: Outcome, now: datetime) -> Listing:
    """Return the listing where the photo went, or another worker took it over: what was stored for it must go again."""
    if not isinstance(outcome, Downloaded):
        return listing
    photo = listing.photo(claimed.id)
    left_with = listing.hidden.reason if listing.hidden else RemovalReason.PHOTO_WITHDRAWN
    orphan = Discard(
        image_id=claimed.id,
        object_id=claimed.object_id,
        reason=RemovalReason.SUPERSEDED if photo else left_with,
        since=now,
        remove_at=now + _LOST_CLAIM_KEPT if photo else now,
        public_keys=tuple(variant.key for variant in outcome.copy.variants),
        original_keys=(outcome.copy.original_key,),
        whole=False,
    )
    left = _spared(orphan, photo.copy) if photo and photo.copy else orphan
    return replace(listing, discards=(*listing.discards, left)) if left else listing
