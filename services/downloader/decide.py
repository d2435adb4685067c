"""Which photos does a batch claim, and what do its outcomes leave of the listing? Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.downloader.outcomes import Deferred, Downloaded, Outcome, Unchanged
from shared.clock import to_millisecond
from shared.domain import retry
from shared.domain.failures import Failure
from shared.domain.feed import Feed
from shared.domain.freshness import is_newer, newest
from shared.domain.image import Claim, Copy, Photo, url_key
from shared.domain.listing import Discard, Listing, RemovalReason, superseded
from shared.domain.priority import Priority, most_urgent
from shared.domain.reconcile import base_priority
from shared.events.codec import Event
from shared.events.images import ImageOutdated, OutdatedReason

_CLAIM_MARGIN = timedelta(seconds=60)
"""Beyond the request's own deadline: waiting for a turn, for an encoder, and for storage."""
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
        photo = _as_asked(photo, event)
        if listing.photo_due_at(photo) and _is_free(photo, worker, now):
            found[photo.id] = photo
    return list(found.values())


def _as_asked(photo: Photo, event: Event[ImageOutdated]) -> Photo:
    photo = replace(photo, priority=most_urgent(photo.priority, event.data.priority))
    last = newest(photo.attempted_at, photo.copy.checked_at if photo.copy else None)
    if event.data.reason is OutdatedReason.FORCED and (last is None or event.time > last):
        return replace(photo, forced_at=to_millisecond(event.time))
    return photo


def _is_free(photo: Photo, worker: str, now: datetime) -> bool:
    """Whether it is released or due, and no other worker has it. One of our own from an earlier life is free."""
    if photo.claim is not None and photo.is_claimed(now) and photo.claim.worker != worker:
        return False
    return photo.released_at is not None or photo.forced_at is not None or photo.not_before <= now


def claim(photo: Photo, worker: str, feed: Feed, now: datetime) -> Photo:
    """Return the photo in the worker's hands for long enough to see it through."""
    until = now + timedelta(milliseconds=int(feed.request_timeout_seconds * 1000)) + _CLAIM_MARGIN
    return replace(
        photo,
        claim=Claim(worker=worker, until=until),
        released_at=photo.released_at or now,
        not_before=until,
        # Already now: a worker that dies in the middle may have asked.
        used_url_key=_spent(photo) if feed.single_use_urls else None,
    )


def _spent(photo: Photo) -> str | None:
    return photo.used_url_key if photo.wants_rebuild else url_key(photo.url)


def abandoned(listing: Listing, worker: str, at_work: Collection[str], now: datetime) -> list[Photo]:
    """Return, due now, the photos that an earlier life of the worker had in hand."""
    return [
        photo.deferred(now)
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
    photo = replace(photo, released_at=None, claim=None)
    match outcome:
        case Deferred(until, url_is_used):
            left = photo if url_is_used or photo.wants_rebuild else replace(photo, used_url_key=None)
            return Settled(listing.with_photos([left.deferred(until)]))
        case Failure():
            return Settled(listing.with_photos([_failed(photo, claimed, outcome, feed, now, jitter)]))
        case Unchanged():
            held = _checked(photo, claimed, outcome, now)
            done = _done(photo, claimed, held, base_priority(feed, listing.city), now)
            return Settled(listing.with_photos([done]), copy=held)
        case Downloaded(copy):
            return _downloaded(listing, photo, claimed, copy, feed, superseded_for, now)


def _downloaded(
    listing: Listing, photo: Photo, claimed: Photo, copy: Copy, feed: Feed, superseded_for: timedelta, now: datetime
) -> Settled:
    if any(discard.removing and discard.touches(copy) for discard in listing.discards):
        # The same bytes as a version whose objects are disappearing right now: store them again once it is over.
        return Settled(listing.with_photos([photo.deferred(now + _STORAGE_BUSY)]))
    copy = replace(copy, mls_changed_at=_belongs_to(photo, claimed))
    done = _done(photo, claimed, copy, base_priority(feed, listing.city), now)
    discards = [_spared(discard, copy) for discard in listing.discards]
    discards.append(superseded(photo, copy, now, now + superseded_for))
    left = replace(listing.with_photos([done]), discards=tuple(discard for discard in discards if discard))
    return Settled(left, copy=copy, changed=photo.copy is None or photo.copy.sha256 != copy.sha256)


def _spared(discard: Discard, copy: Copy) -> Discard | None:
    """Return what is still to be removed: nothing that the new copy uses again."""
    left = discard.without(copy)
    return left if left.whole or left.public_keys or left.original_keys else None


def _checked(photo: Photo, claimed: Photo, outcome: Unchanged, now: datetime) -> Copy:
    assert photo.copy is not None  # noqa: S101 - only the holder of the claim replaces a copy
    return replace(
        photo.copy,
        etag=outcome.etag,
        last_modified=outcome.last_modified,
        mls_changed_at=_belongs_to(photo, claimed),
        checked_at=now,
    )


def _belongs_to(photo: Photo, claimed: Photo) -> datetime | None:
    """Return the MLS time of the version fetched: the one announced when the fetch began, not one announced since."""
    return claimed.announced_at if is_newer(photo.announced_at, claimed.announced_at) else photo.announced_at


def _done(photo: Photo, claimed: Photo, copy: Copy, base: Priority, now: datetime) -> Photo:
    return replace(
        photo,
        copy=copy,
        failure=None,
        attempts=0,
        attempted_at=now,
        not_before=now,
        priority=base,
        forced_at=None if photo.forced_at == claimed.forced_at else photo.forced_at,
    )


def _failed(photo: Photo, claimed: Photo, failure: Failure, feed: Feed, now: datetime, jitter: float) -> Photo:
    was_given_up = photo.failure is not None and retry.is_given_up(photo.failure, photo.attempts, feed)
    attempts = 1 if was_given_up else photo.attempts + 1
    was_announced_anew = is_newer(photo.announced_at, claimed.announced_at)
    return replace(
        photo,
        failure=failure,
        attempts=attempts,
        attempted_at=now,
        not_before=now if was_announced_anew else retry.next_attempt(failure, attempts, feed, now, jitter),
        forced_at=None if retry.is_given_up(failure, attempts, feed) else photo.forced_at,
    )


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
