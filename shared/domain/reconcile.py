"""What follows from a statement of the MLS for what we hold? Photos are compared as a set; an old event is void."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.domain import lifecycle
from shared.domain.announcement import AnnouncedPhoto, Announcement
from shared.domain.feed import Feed
from shared.domain.freshness import is_newer, is_stale, newest
from shared.domain.image import Photo, image_id
from shared.domain.listing import Discard, Hidden, Listing, RemovalReason
from shared.domain.priority import Priority, area_priority, most_urgent

GRACE = timedelta(seconds=5)
"""Copies of a hidden listing stay this long, unseen: one that comes right back keeps them. The contract allows 30 s."""


def record(listing: Listing | None, said: Announcement, feed: Feed, now: datetime) -> Listing | None:
    """Return the listing as the statement leaves it; None where the statement is old or says nothing new."""
    known = listing or Listing(feed=said.feed, key=said.listing_key)
    if listing is not None and is_stale(said.version, known.version):
        return None
    media_changed_at = newest(said.version.media_changed_at, known.media_changed_at)
    city = said.city or known.city
    hidden = _hidden(known, said, feed, now)
    if hidden and known.hidden and not known.photos and known.hidden.removal_at <= now:
        announced: tuple[Photo, ...] = ()  # they were removed: a listing that stays hidden learns of none again
    else:
        announced = _photos(known, said, media_changed_at, area_priority(feed, city), now)
    if known.hidden and hidden is None:
        announced = tuple(_shown_again(photo, now) for photo in announced)
    recorded = replace(
        known,
        standard_status=said.standard_status,
        city=city,
        modified_at=newest(said.version.modified_at, known.modified_at),
        media_changed_at=media_changed_at,
        position=said.version.position or known.position,
        hidden=hidden,
        photos=announced,
        discards=known.discards + _withdrawn(known, announced, said, hidden, now),
        set_aside=said.set_aside if said.set_aside or said.photos is not None else known.set_aside,
    )
    if listing is not None and replace(recorded, position=known.position) == known:
        return None
    return replace(recorded, seen_at=now)


def _photos(
    known: Listing, said: Announcement, media_changed_at: datetime | None, base: Priority, now: datetime
) -> tuple[Photo, ...]:
    if said.photos is None:
        return tuple(_touched(photo, said, media_changed_at, now) for photo in known.photos)
    before = {photo.object_id: photo for photo in known.photos}
    allowed = said.photos
    if known.removed_image_ids:
        allowed = tuple(
            one for one in allowed if image_id(known.feed, known.key, one.object_id) not in known.removed_image_ids
        )
    return tuple(
        _merged(before.get(announced.object_id), announced, order, known, said, media_changed_at, base, now)
        for order, announced in enumerate(allowed)
    )


def _touched(photo: Photo, said: Announcement, media_changed_at: datetime | None, now: datetime) -> Photo:
    """Without a timestamp of its own, the listing's counts for the photo."""
    changes = {} if photo.has_own_timestamp else _announced_again(photo, said, media_changed_at, now)
    return replace(photo, **changes) if changes else photo


def _merged(
    photo: Photo | None,
    announced: AnnouncedPhoto,
    order: int,
    listing: Listing,
    said: Announcement,
    media_changed_at: datetime | None,
    base: Priority,
    now: datetime,
) -> Photo:
    """Return the photo as it is announced, made once: a market's photos pass here, and each making has its cost."""
    changed_at = announced.own_changed_at or media_changed_at
    if photo is None:
        return Photo(
            id=image_id(listing.feed, listing.key, announced.object_id), object_id=announced.object_id,
            media_key=announced.media_key, url=announced.url, url_keys=announced.url_keys, order=order,
            caption=announced.caption, announced_at=changed_at,
            has_own_timestamp=announced.own_changed_at is not None, priority=base, not_before=now,
            cause=said.event_id,
        )  # fmt: skip
    changes = {**_waited(photo, announced.url, now), **_announced_again(photo, said, changed_at, now)}
    return replace(
        photo,
        url=announced.url,
        media_key=announced.media_key,
        url_keys=announced.url_keys,
        order=order,
        caption=announced.caption,
        has_own_timestamp=announced.own_changed_at is not None,
        priority=most_urgent(photo.priority, base),
        **changes,
    )


def _waited(photo: Photo, url: str, now: datetime) -> dict[str, Any]:
    """A photo that waited for another URL is tried at once with it."""
    waited = photo.waits_for_new_url and url != photo.url and not photo.is_claimed(now)
    return {"not_before": now} if waited else {}


def _shown_again(photo: Photo, now: datetime) -> Photo:
    """What was released before its listing was hidden may have been passed over meanwhile."""
    return lifecycle.defer(photo, now) if photo.released_at is not None and not photo.is_claimed(now) else photo


def _announced_again(photo: Photo, said: Announcement, changed_at: datetime | None, now: datetime) -> dict[str, Any]:
    """Return what changes: something newer ends every wait and gives all attempts back; the same again is nothing."""
    if not is_newer(changed_at, photo.announced_at):
        return _restated(photo, changed_at)
    waiting = photo.released_at is not None or photo.claim is not None
    changes: dict[str, Any] = {} if waiting else {"not_before": now}
    return {**changes, "announced_at": changed_at, "attempts": 0, "failure": None, "cause": said.event_id}


def _restated(photo: Photo, changed_at: datetime | None) -> dict[str, Any]:
    """The MLS may name an older time for the same picture, as when a photo gets a timestamp of its own.

    The copy then belongs to that time, or a later change would look older than the copy.
    """
    if changed_at is None or changed_at == photo.announced_at:
        return {}
    copy = photo.copy if photo.copy is None or photo.is_outdated else replace(photo.copy, mls_changed_at=changed_at)
    return {"announced_at": changed_at, "copy": copy}


def _hidden(known: Listing, said: Announcement, feed: Feed, now: datetime) -> Hidden | None:
    if known.is_removed_by_operator:
        return known.hidden
    if said.hidden_by is None:
        return None
    before = known.hidden
    since = before.since if before else now
    keep = feed.keep_after_inactive if said.may_be_kept else timedelta(0)
    return Hidden(
        reason=said.hidden_by,
        since=since,
        remove_at=since + max(keep, GRACE),
        off_market_at=before.off_market_at
        if before
        else newest(said.version.modified_at, said.version.media_changed_at),
        was_displayed=before.was_displayed if before else known.seen_at is not None,
        held_until=before.held_until if before and before.reason is said.hidden_by else None,
    )


def _withdrawn(
    known: Listing, shown: tuple[Photo, ...], said: Announcement, hidden: Hidden | None, now: datetime
) -> tuple[Discard, ...]:
    """Return the orders to remove what is shown no more; a listing that goes as a whole is the reason, not its list."""
    still = {photo.id for photo in shown}
    gone = [photo for photo in known.photos if photo.id not in still]
    off_market_at = newest(said.version.modified_at, said.version.media_changed_at)
    all_go = hidden is not None and hidden.remove_at <= now + GRACE
    reason = hidden.reason if hidden and all_go else RemovalReason.PHOTO_WITHDRAWN
    return tuple(whole(photo, reason, known.hidden, now, off_market_at=off_market_at) for photo in gone)


def whole(
    photo: Photo, reason: RemovalReason, hidden: Hidden | None, now: datetime, *, off_market_at: datetime | None = None
) -> Discard:
    """Return the order to remove every version of a photo now; where its listing was hidden, it is since then."""
    copy = photo.copy
    return Discard(
        image_id=photo.id,
        object_id=photo.object_id,
        reason=reason,
        since=hidden.since if hidden else now,
        off_market_at=hidden.off_market_at if hidden else off_market_at,
        unshown_at=now,
        remove_at=now,
        public_keys=tuple(variant.key for variant in copy.variants) if copy else (),
        original_keys=(copy.original_key,) if copy else (),
        whole=True,
    )
