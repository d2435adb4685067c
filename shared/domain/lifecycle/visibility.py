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
    """Return the value of the listing's field `hidden` after the announcement; None if the listing is then displayed.

    The value says why and since when the listing is hidden, and when its copies are removed. A listing that an operator
    removed stays hidden, whatever the MLS announces.
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
    """Return a photo as recorded when its listing is displayed again after it was hidden.

    A downloader may have ignored the photo's event while the listing was hidden. Therefore a photo in flight without a
    claim becomes due now, and is in flight no more. Any other photo is returned unchanged.
    """
    return defer(photo, now) if photo.released_at is not None and not photo.is_claimed(now) else photo


def hold(listing: Listing, until: datetime | None) -> Listing:
    """Return the hidden listing with its copies held until the given time: they are not removed earlier.

    If `until` is None, return the listing without a hold.
    """
    assert listing.hidden is not None  # noqa: S101 - no removal of a displayed listing is due, so none is held
    return replace(listing, hidden=replace(listing.hidden, held_until=until))


def remove_listing(listing: Listing, now: datetime) -> Listing:
    """Return the listing after an operator removed it: hidden whatever the MLS announces, and all its removals due now.

    The caller writes the listing; the janitor deletes its objects later.
    """
    before = listing.hidden or Hidden(reason=RemovalReason.FORCED, since=now, remove_at=now)
    hidden = replace(before, reason=RemovalReason.FORCED, remove_at=now, held_until=None)
    discards = tuple(replace(discard, remove_at=min(discard.remove_at, now)) for discard in listing.discards)
    return replace(listing, is_removed_by_operator=True, hidden=hidden, discards=discards)


def remove_photos(listing: Listing, image_ids: Collection[str], now: datetime) -> Listing:
    """Return the listing after an operator removed these photos: it does not show them, whatever the MLS announces.

    The discards of these photos are due now. The `order` of the remaining photos is counted anew from 0.
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
    """Return the listing after an operator allowed its removed photos `image_ids` to be shown again.

    If `image_ids` is empty, the listing itself and all its removed photos are allowed again. The MLS's next
    announcement of the listing shows them. The recorded version is cleared, so that this announcement is applied even
    if it is the same as the last.
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
