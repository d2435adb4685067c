"""What does an announcement change of a photo? A newer version makes the photo due; an equal one changes nothing."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.domain.freshness import is_newer
from shared.domain.image import NO_RENDERING, Photo, image_id
from shared.domain.lifecycle.attempts import defer
from shared.domain.lifecycle.requests import rebuild
from shared.domain.media import AnnouncedPhoto
from shared.domain.priority import Priority, most_urgent


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingFacts:
    """The facts of an announcement that apply to all photos of its listing."""

    feed: str
    listing_key: str
    media_changed_at: datetime | None
    """The newest MLS timestamp of the listing's media: the version of photos without a timestamp of their own."""
    priority: Priority
    """The priority of the listing's area, which its photos have at least."""
    event_id: str
    """The id of the `listing-seen` event; empty where there is none."""


def announce(announced: AnnouncedPhoto, order: int, facts: ListingFacts, now: datetime) -> Photo:
    """Return the photo to record for an announced photo that the listing did not show before. The photo is due now.

    `order` is the photo's place among those of the listing, from 0. `facts` is what the announcement says of the
    listing.
    """
    return Photo(
        id=image_id(facts.feed, facts.listing_key, announced.object_id),
        object_id=announced.object_id,
        media_key=announced.media_key,
        url=announced.url,
        url_keys=announced.url_keys,
        order=order,
        caption=announced.caption,
        announced_at=announced.own_changed_at or facts.media_changed_at,
        has_own_timestamp=announced.own_changed_at is not None,
        priority=facts.priority,
        not_before=now,
        cause=facts.event_id,
        category=announced.category,
    )


def announce_again(
    photo: Photo, announced: AnnouncedPhoto, order: int, facts: ListingFacts, now: datetime
) -> Photo:  # fmt: skip
    """Return the recorded `photo`, which its listing shows already, as a new announcement of the photo changes it.

    `announced` is the photo in the new announcement, and `order` its place among the listing's photos, from 0. `facts`
    is what the announcement says of the listing. A newer version clears the photo's failure and its count of attempts,
    and makes the photo due now unless it is in flight. If the photo waits for a new URL, a new URL makes the photo due
    now unless it is claimed. The photo gets the priority of `facts` if that is more urgent than its own.
    """
    changed_at = announced.own_changed_at or facts.media_changed_at
    # A single replace for all fields: a burst brings the photos of a whole market, and each replace takes microseconds.
    changes = {**_new_url(photo, announced.url, now), **_new_version(photo, changed_at, facts.event_id, now)}
    return replace(
        photo,
        url=announced.url,
        media_key=announced.media_key,
        url_keys=announced.url_keys,
        order=order,
        caption=announced.caption,
        category=announced.category,
        has_own_timestamp=announced.own_changed_at is not None,
        priority=most_urgent(photo.priority, facts.priority),
        **changes,
    )


def announce_renamed(
    photo: Photo, announced: AnnouncedPhoto, order: int, facts: ListingFacts, now: datetime
) -> Photo:  # fmt: skip
    """Return the recorded `photo`, which has a copy, as an announcement of it under a new key changes it.

    The arguments are those of `announce_again`, and the photo is changed as by that function. In addition, the photo
    gets the id that belongs to its new key, and keeps its copy. A rebuild is due now, which stores the copy's objects
    under the new id. An attempt that is in flight under the former id is not waited for.
    """
    new_id = image_id(facts.feed, facts.listing_key, announced.object_id)
    renamed = announce_again(
        replace(photo, id=new_id, object_id=announced.object_id), announced, order, facts, now
    )  # fmt: skip
    is_rebuildable = renamed.copy is not None and renamed.copy.rendering != NO_RENDERING
    return rebuild(renamed, now) if is_rebuildable else defer(renamed, now)


def announce_retained(photo: Photo, order: int) -> Photo:
    """Return the recorded photo at the place `order`, after an announcement that has no row to fetch the photo from.

    All else that is recorded of the photo stays, so that a later row is compared with the version that was downloaded.
    """
    return photo if photo.order == order else replace(photo, order=order)


def announce_listing(photo: Photo, facts: ListingFacts, now: datetime) -> Photo:
    """Return the recorded photo after an announcement of its listing that has no `Media` rows.

    `facts` is what the announcement says of the listing. A photo without an MLS timestamp of its own gets the listing's
    media timestamp. If that is later than the recorded timestamp, the photo has a newer version, and is due now unless
    it is in flight. A photo with a timestamp of its own is returned unchanged.
    """
    if photo.has_own_timestamp:
        return photo
    changes = _new_version(photo, facts.media_changed_at, facts.event_id, now)
    return replace(photo, **changes) if changes else photo


def _new_url(photo: Photo, url: str, now: datetime) -> dict[str, Any]:
    """Return the photo's fields that an announced URL changes, with their new values; empty if none change.

    The caller sets the URL itself. A photo that waits for a new URL is due now, unless it is claimed. The validators of
    a refused file are dropped, because they came from the former URL.
    """
    if url == photo.url:
        return {}
    changes: dict[str, Any] = {}
    if photo.failure is not None and (photo.failure.etag or photo.failure.last_modified):
        changes["failure"] = replace(photo.failure, etag=None, last_modified=None)
    if photo.waits_for_new_url and not photo.is_claimed(now):
        changes["not_before"] = now
    return changes


def _new_version(photo: Photo, changed_at: datetime | None, event_id: str, now: datetime) -> dict[str, Any]:
    """Return the photo's fields that an announced timestamp changes, with their new values; empty if none change.

    `changed_at` is the timestamp, None if the MLS gave none. `event_id` is the id of the announcement's event. A
    timestamp later than the recorded one means a newer version: failure and count of attempts are cleared, and the
    photo is due now unless it is in flight. For an earlier timestamp, see `_restated`.
    """
    if not is_newer(changed_at, photo.announced_at):
        return _restated(photo, changed_at)
    is_in_flight = photo.released_at is not None or photo.claim is not None
    changes: dict[str, Any] = {} if is_in_flight else {"not_before": now}
    return {**changes, "announced_at": changed_at, "attempts": 0, "failure": None, "cause": event_id}


def _restated(photo: Photo, changed_at: datetime | None) -> dict[str, Any]:
    """Return the photo's fields that a timestamp earlier than the recorded one changes, with their new values.

    Empty if `changed_at` is None or equal to the recorded timestamp. The MLS announces an earlier timestamp for the
    same version when it gives a photo a timestamp of its own, in place of the listing's. An up-to-date copy gets the
    earlier timestamp too. If the copy kept the later one, the next version could look older than the copy, and would
    not be fetched.
    """
    if changed_at is None or changed_at == photo.announced_at:
        return {}
    copy = photo.copy if photo.copy is None or photo.is_outdated else replace(photo.copy, mls_changed_at=changed_at)
    return {"announced_at": changed_at, "copy": copy}
