"""What follows from a statement of the MLS for what we hold? Photos are compared as a set; an old event is void."""

from dataclasses import replace
from datetime import datetime

from shared.domain import lifecycle
from shared.domain.announcement import Announcement
from shared.domain.feed import Feed
from shared.domain.freshness import is_stale, newest
from shared.domain.image import Photo, image_id
from shared.domain.lifecycle import ListingFacts
from shared.domain.listing import Discard, Hidden, Listing, RemovalReason
from shared.domain.priority import area_priority


def record(listing: Listing | None, said: Announcement, feed: Feed, now: datetime) -> Listing | None:
    """Return the listing as the statement leaves it; None where the statement is old or says nothing new."""
    known = listing or Listing(feed=said.feed, key=said.listing_key)
    if listing is not None and is_stale(said.version, known.version):
        return None
    media_changed_at = newest(said.version.media_changed_at, known.media_changed_at)
    city = said.city or known.city
    hidden = lifecycle.hide(known, said, feed, now)
    if hidden and known.hidden and not known.photos and known.hidden.removal_at <= now:
        announced: tuple[Photo, ...] = ()  # they were removed: a listing that stays hidden learns of none again
    else:
        facts = ListingFacts(
            feed=known.feed,
            listing_key=known.key,
            media_changed_at=media_changed_at,
            priority=area_priority(feed, city),
            event_id=said.event_id,
        )
        announced = _photos(known, said, facts, now)
    if known.hidden and hidden is None:
        announced = tuple(lifecycle.show(photo, now) for photo in announced)
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


def _photos(known: Listing, said: Announcement, facts: ListingFacts, now: datetime) -> tuple[Photo, ...]:
    if said.photos is None:
        return tuple(lifecycle.announce_listing(photo, facts, now) for photo in known.photos)
    before = {photo.object_id: photo for photo in known.photos}
    allowed = said.photos
    if known.removed_image_ids:
        allowed = tuple(
            one for one in allowed if image_id(known.feed, known.key, one.object_id) not in known.removed_image_ids
        )
    return tuple(
        lifecycle.announce_again(photo, announced, order, facts, now)
        if (photo := before.get(announced.object_id))
        else lifecycle.announce(announced, order, facts, now)
        for order, announced in enumerate(allowed)
    )


def _withdrawn(
    known: Listing, shown: tuple[Photo, ...], said: Announcement, hidden: Hidden | None, now: datetime
) -> tuple[Discard, ...]:
    """Return the orders to remove what is shown no more; a listing that goes as a whole is the reason, not its list."""
    still = {photo.id for photo in shown}
    gone = [photo for photo in known.photos if photo.id not in still]
    off_market_at = newest(said.version.modified_at, said.version.media_changed_at)
    all_go = hidden is not None and hidden.remove_at <= now + lifecycle.GRACE
    reason = hidden.reason if hidden and all_go else RemovalReason.PHOTO_WITHDRAWN
    return tuple(lifecycle.withdraw(photo, reason, known.hidden, now, off_market_at=off_market_at) for photo in gone)
