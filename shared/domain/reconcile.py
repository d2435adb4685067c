"""What does an announcement change of a recorded listing? A stale announcement changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from shared.domain import lifecycle
from shared.domain.announcement import Announcement
from shared.domain.feed import Feed
from shared.domain.freshness import credible, is_credible, is_newer, is_stale, newest, seen_at
from shared.domain.image import Category, Photo, image_id
from shared.domain.lifecycle import ListingFacts
from shared.domain.listing import Discard, Hidden, Listing, RemovalReason
from shared.domain.media import AnnouncedPhoto, RetainedPhoto
from shared.domain.priority import area_priority


def apply(listing: Listing | None, announcement: Announcement, feed: Feed, now: datetime) -> Listing | None:
    """Return the listing as an announcement changes it, for the caller to write; None if it changes nothing.

    `listing` is the recorded listing, None if none is recorded yet. A stale announcement changes nothing, and neither
    does an announcement that repeats what is recorded.
    """
    before = listing or Listing(feed=announcement.feed, key=announcement.listing_key)
    hides = announcement.hidden_by is not None
    if listing is not None and is_stale(announcement.version, before.version, now, hides=hides):
        return None
    announcement = _credible(announcement, now)
    version, recorded = announcement.version, credible(before.version, now)
    hidden = lifecycle.hide(before, announcement, feed, now)
    media_changed_at = newest(version.media_changed_at, recorded.media_changed_at)
    city = announcement.city or before.city
    facts = ListingFacts(
        feed=before.feed,
        listing_key=before.key,
        media_changed_at=media_changed_at,
        priority=area_priority(feed, city),
        event_id=announcement.event_id,
    )
    photos = _photos(before, announcement, hidden, facts, now)
    has_rows = bool(announcement.set_aside) or announcement.photos is not None
    reconciled = replace(
        before,
        standard_status=announcement.standard_status,
        city=city,
        modified_at=newest(version.modified_at, recorded.modified_at),
        media_changed_at=media_changed_at,
        position=version.position or before.position,
        hidden=hidden,
        photos=photos,
        discards=before.discards + _withdrawn(before, photos, announcement, hidden, now),
        set_aside=announcement.set_aside if has_rows else before.set_aside,
    )
    if listing is not None and replace(reconciled, position=before.position) == before:
        return None
    return replace(reconciled, seen_at=now)


def _credible(announcement: Announcement, now: datetime) -> Announcement:
    """Return the announcement without timestamps that were over a day ahead of our clock when its event was published.

    `now` is the time by our clock. A photo that loses its timestamp gets the timestamp of its listing.
    """
    seen = seen_at(announcement.version, now)
    photos = announcement.photos
    if photos and not all(is_credible(photo.own_changed_at, seen) for photo in photos):
        photos = tuple(
            photo if is_credible(photo.own_changed_at, seen) else replace(photo, own_changed_at=None)
            for photo in photos
        )
    version = credible(announcement.version, seen)
    is_changed = version is not announcement.version or photos is not announcement.photos
    return replace(announcement, version=version, photos=photos) if is_changed else announcement


def _photos(
    listing: Listing, announcement: Announcement, hidden: Hidden | None, facts: ListingFacts, now: datetime
) -> tuple[Photo, ...]:
    """Return the photos that the listing's record shows after the announcement, in the MLS's order.

    `listing` is the listing as recorded before the announcement. `hidden` is its `hidden` after the announcement, None
    if the listing is then displayed. `facts` is what the announcement says of all photos. If the announcement has no
    `Media`, the recorded photos stay. The result is empty for a listing that stays hidden after its copies were
    removed.
    """
    if hidden and listing.hidden and not listing.photos and listing.hidden.removal_at <= now:
        return ()  # the photos were removed: a listing that stays hidden gets none again
    if announcement.photos is None:
        photos = tuple(lifecycle.announce_listing(photo, facts, now) for photo in listing.photos)
    else:
        retained = (*announcement.retained, *_cut_off(listing, announcement.photos, announcement))
        photos = _announced(listing, announcement.photos, retained, facts, now)
    is_shown_again = listing.hidden is not None and hidden is None
    return tuple(lifecycle.show(photo, now) for photo in photos) if is_shown_again else photos


def _cut_off(
    listing: Listing, announced: Sequence[AnnouncedPhoto], announcement: Announcement
) -> Sequence[RetainedPhoto]:  # fmt: skip
    """Return the recorded photos that the announcement lacks because the MLS cut its rows; empty if it did not.

    `announced` are the announcement's photos. The rows were cut if there are fewer photos than the record's PhotosCount
    says, and the media timestamp is not newer than the recorded one. The returned photos are placed after all others.
    """
    is_changed = is_newer(announcement.version.media_changed_at, listing.media_changed_at)
    if not announcement.lacks_photos or is_changed:
        return ()
    named = {photo.object_id for photo in announced} | {photo.object_id for photo in announcement.retained}
    urls = {photo.url for photo in announced}  # a photo with one of these is renamed, not cut off
    return [
        RetainedPhoto(photo.object_id, len(announced))
        for photo in listing.photos
        if photo.object_id not in named and photo.url not in urls
    ]


def _announced(
    listing: Listing,
    announced: Sequence[AnnouncedPhoto],
    retained: Sequence[RetainedPhoto],
    facts: ListingFacts,
    now: datetime,
) -> tuple[Photo, ...]:
    """Return the photos that an announcement with rows shows, as they are to be recorded, in the order of the listing.

    `listing` is the listing as recorded before the announcement, and `facts` what the announcement says of all photos.
    Recorded photos keep their copy and state, even if the MLS announces them under another key. `retained` are recorded
    photos without a row that can be fetched now. All other photos are new. Photos that an operator removed are left
    out.
    """
    entries = _entries(listing, announced, retained)
    recorded = {photo.object_id: photo for photo in listing.photos}
    renamed = _renamed(listing, entries, recorded)
    photos: list[Photo] = []
    for order, entry in enumerate(entries):
        if isinstance(entry, Photo):
            photos.append(lifecycle.announce_retained(entry, order))
        elif photo := recorded.get(entry.object_id):
            photos.append(lifecycle.announce_again(photo, entry, order, facts, now))
        elif photo := renamed.get(entry.object_id):
            photos.append(lifecycle.announce_renamed(photo, entry, order, facts, now))
        else:
            photos.append(lifecycle.announce(entry, order, facts, now))
    return tuple(photos)


def _entries(
    listing: Listing, announced: Sequence[AnnouncedPhoto], retained: Sequence[RetainedPhoto]
) -> list[AnnouncedPhoto | Photo]:
    """Return the announced photos and the recorded photos that are retained, in the order of the listing.

    Photos that an operator removed are left out. A floor plan does not come first if the listing has a photo of another
    kind.
    """
    entries: list[AnnouncedPhoto | Photo] = list(announced)
    if retained:
        recorded = {photo.object_id: photo for photo in listing.photos}
        for kept in reversed(retained):  # the places of the photos before it stay as they are
            if photo := recorded.get(kept.object_id):
                entries.insert(kept.place, photo)
    if listing.removed_image_ids:
        entries = [
            entry
            for entry in entries
            if image_id(listing.feed, listing.key, entry.object_id) not in listing.removed_image_ids
        ]
    first = next((place for place, entry in enumerate(entries) if entry.category is Category.PHOTO), 0)
    if first:
        entries.insert(0, entries.pop(first))
    return entries


def _renamed(
    listing: Listing, entries: Sequence[AnnouncedPhoto | Photo], recorded: Mapping[str, Photo]
) -> Mapping[str, Photo]:
    """Return the recorded photos that the MLS announces under a new key, by the object id of the new photo.

    `entries` are the photos of the announcement, `recorded` the listing's photos by object id. A recorded photo is
    taken for a new photo if both have the same URL, the recorded one has a copy, and the MLS does not announce it any
    more.
    """
    new = [entry for entry in entries if isinstance(entry, AnnouncedPhoto) and entry.object_id not in recorded]
    if not new or not recorded:
        return {}
    named = {entry.object_id for entry in entries}
    leaving = {discard.image_id for discard in listing.discards if discard.whole}
    unnamed: dict[str, list[Photo]] = {}
    for photo in listing.photos:
        if photo.object_id not in named and photo.copy is not None and photo.id not in leaving:
            unnamed.setdefault(photo.url, []).append(photo)
    return {entry.object_id: unnamed[entry.url].pop(0) for entry in new if unnamed.get(entry.url)}


def _withdrawn(
    listing: Listing, shown: tuple[Photo, ...], announcement: Announcement, hidden: Hidden | None, now: datetime
) -> tuple[Discard, ...]:
    """Return the discards of the photos that the listing showed before the announcement and does not show any more.

    `listing` is the listing as recorded before the announcement. `shown` are its photos after the announcement;
    `hidden` is its `hidden` then, None if it is displayed. The reason of the discards is `photo-withdrawn`. But if the
    listing is hidden and its copies are to be removed within `lifecycle.GRACE`, the reason is that of `hidden`.
    """
    shown_ids = {photo.id for photo in shown}
    withdrawn = [photo for photo in listing.photos if photo.id not in shown_ids]
    if withdrawn:
        # The copy of a renamed photo goes on under the photo's new name.
        used = {photo.copy.original_key for photo in shown if photo.copy}
        withdrawn = [photo for photo in withdrawn if photo.copy is None or photo.copy.original_key not in used]
    off_market_at = newest(announcement.version.modified_at, announcement.version.media_changed_at)
    goes_at_once = hidden is not None and hidden.remove_at <= now + lifecycle.GRACE
    reason = hidden.reason if hidden and goes_at_once else RemovalReason.PHOTO_WITHDRAWN
    return tuple(
        lifecycle.withdraw(photo, reason, listing.hidden, now, off_market_at=off_market_at) for photo in withdrawn
    )
