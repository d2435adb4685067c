"""May the public see a listing and its photos? The MLS and operators hide them, and show them again."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.announcement import Announcement, RemovalTime
from shared.domain.feed import Feed
from shared.domain.freshness import newest
from shared.domain.image import Photo
from shared.domain.lifecycle.attempts import defer
from shared.domain.lifecycle.discards import withdraw
from shared.domain.listing import UNTIL_DECIDED, Hidden, Listing, RemovalReason

GRACE = timedelta(seconds=5)
"""Copies of a hidden listing stay this long: a listing shown again at once keeps them. The contract allows 30 s."""


def hide(listing: Listing, announcement: Announcement, feed: Feed, now: datetime) -> Hidden | None:
    """Return the `hidden` that the listing has after the announcement: why and since when, and until when copies stay.

    Return None if the listing is displayed. A listing that an operator removed stays hidden, whatever the MLS
    announces.
    """
    if listing.is_removed_by_operator:
        return listing.hidden
    hiding = announcement.hiding
    if hiding is None:
        return None
    before, version = listing.hidden, announcement.version
    since = before.since if before else now
    keep = feed.keep_after_inactive if hiding.removal is RemovalTime.AFTER_KEEPING else timedelta(0)
    return Hidden(
        reason=hiding.reason,
        since=since,
        remove_at=UNTIL_DECIDED if hiding.removal is RemovalTime.NEVER else since + max(keep, GRACE),
        off_market_at=before.off_market_at if before else newest(version.modified_at, version.media_changed_at),
        was_displayed=before.was_displayed if before else listing.seen_at is not None,
        held_until=before.held_until if before and before.reason is hiding.reason else None,
    )


def show(photo: Photo, now: datetime) -> Photo:
    """Return a photo of a listing that is displayed again after it was hidden.

    A photo in flight without a claim is due now and not in flight any more, since a downloader may have ignored its
    event while the listing was hidden. Any other photo is returned as it is.
    """
    return defer(photo, now) if photo.released_at is not None and not photo.is_claimed(now) else photo


def hold(listing: Listing, until: datetime | None) -> Listing:
    """Return the hidden listing with a hold on the removal of its copies until the given time.

    If `until` is None, return the listing without a hold.
    """
    assert listing.hidden is not None  # noqa: S101 - no removal of a displayed listing is due, so none is held
    return replace(listing, hidden=replace(listing.hidden, held_until=until))


def remove_listing(listing: Listing, now: datetime) -> Listing:
    """Return the listing after an operator removed it: hidden whatever the MLS announces, and all its removals due.

    The caller writes the listing; its objects are deleted later.
    """
    before = listing.hidden or Hidden(reason=RemovalReason.FORCED, since=now, remove_at=now)
    hidden = replace(before, reason=RemovalReason.FORCED, remove_at=now, held_until=None)
    discards = tuple(replace(discard, remove_at=min(discard.remove_at, now)) for discard in listing.discards)
    return replace(listing, is_removed_by_operator=True, hidden=hidden, discards=discards)


def remove_photos(listing: Listing, image_ids: Collection[str], now: datetime) -> Listing:
    """Return the listing after an operator removed these photos: it does not show them, whatever the MLS announces.

    The discards of the photos are due now. The other photos are numbered anew in their order.
    """
    remaining = [photo for photo in listing.photos if photo.id not in image_ids]
    removed = [photo for photo in listing.photos if photo.id in image_ids]
    return replace(
        listing,
        photos=tuple(replace(photo, order=order) for order, photo in enumerate(remaining)),
        discards=(
            *listing.discards,
            *(withdraw(photo, RemovalReason.FORCED, listing.hidden, now) for photo in removed),
        ),
        removed_image_ids=tuple(dict.fromkeys((*listing.removed_image_ids, *image_ids))),
    )


def allow_again(listing: Listing, image_ids: Collection[str]) -> Listing:
    """Return the listing after an operator allowed the removed photos `image_ids` to be shown again.

    If `image_ids` is empty, the listing itself and all its removed photos are allowed again. They are shown only after
    the MLS's next announcement of the listing: the recorded version is cleared, so that this announcement is applied
    even if it is equal to the last.
    """
    return replace(
        listing,
        is_removed_by_operator=listing.is_removed_by_operator and bool(image_ids),
        removed_image_ids=tuple(
            image_id for image_id in listing.removed_image_ids if image_ids and image_id not in image_ids
        ),
        modified_at=None,
        media_changed_at=None,
        position=None,
    )
