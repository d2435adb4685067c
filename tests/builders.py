"""Small builders of what tests speak of: a feed, a listing, a photo, a copy, a RESO record. All else has a default."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain import announcement, keys, reconcile
from shared.domain.feed import Feed
from shared.domain.freshness import Position
from shared.domain.image import Copy, Photo, Variant, image_id, url_keys
from shared.domain.listing import Discard, Hidden, Listing, RemovalReason
from shared.domain.priority import Priority

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
FEED = "proptx-idx"
KEY = "X1"

Row = dict[str, Any]
"""One row of `Media`, or a whole Property record."""


def after(seconds: float) -> datetime:
    """Return the moment so many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    """Write the moment so many seconds after NOW as an MLS does."""
    return after(seconds).isoformat().replace("+00:00", "Z")


def a_feed(**rules: Any) -> Feed:
    """Return a feed with the default rules but for those given."""
    given: dict[str, Any] = {"name": FEED, "image_hosts": ("photos.example.com",), **rules}
    return Feed(**given)


def a_row(key: str = "a", **fields: Any) -> Row:
    """Return a row of `Media` with what is required, and the fields given; one given as None is there and null."""
    return {"MediaKey": key, "MediaURL": f"https://photos.example.com/{key}.jpg", **fields}


def a_record(*rows: object, key: str = KEY, at: float | None = 0, **fields: Any) -> Row:
    """Return a Property record of an active listing with these rows, changed so many seconds after NOW."""
    stamps = {} if at is None else {"ModificationTimestamp": stamp(at), "MediaChangeTimestamp": stamp(at)}
    return {"ListingKey": key, "StandardStatus": "Active", "City": "Guelph", **stamps, "Media": list(rows), **fields}


def without(record: Row, *names: str) -> Row:
    """Return the record without some fields."""
    return {name: value for name, value in record.items() if name not in names}


def heard(
    record: Row, known: Listing | None = None, *, feed: Feed | None = None, offset: int = 0, now: datetime = NOW
) -> Listing | None:
    """Return the listing as the record leaves it, read from that place of its topic; None where it says nothing new."""
    rules = feed or a_feed()
    said = announcement.read(rules, record, Position(NOW, 0, offset))
    return reconcile.apply(known, said, rules, now)


def a_copy(photo: str = "a", *, key: str = KEY, feed: str = FEED, sha256: str = "5a" * 32, **facts: Any) -> Copy:
    """Return a copy in two variants, of the version that the MLS announced at NOW."""
    folder = keys.folder(feed, key, photo, sha256)
    variants = tuple(
        Variant(
            name=name, key=f"{folder}{name}-12345678.webp", content_type="image/webp",
            width=width, height=width * 3 // 4, file_size=width * 100,
        )
        for name, width in (("full", 1600), ("thumb", 320))
    )  # fmt: skip
    plain = Copy(
        sha256=sha256, original_key=f"{folder}original.jpg", content_type="image/jpeg", width=2000, height=1500,
        file_size=400_000, variants=variants, rendering="12345678", thumbhash="3OcRJYB4d3h/iIeHeEh3eIhw+j2w",
        etag='"v1"', last_modified=None, mls_changed_at=NOW, downloaded_at=NOW, checked_at=NOW,
    )  # fmt: skip
    return replace(plain, **facts)


def a_photo(name: str = "a", *, key: str = KEY, feed: str = FEED, **facts: Any) -> Photo:
    """Return a photo announced and due at NOW, of which there is no copy."""
    url = f"https://photos.example.com/{name}.jpg"
    plain = Photo(
        id=image_id(feed, key, name), object_id=name, media_key=name, url=url, url_keys=url_keys([url]), order=0,
        caption="", announced_at=NOW, has_own_timestamp=False, priority=Priority.ROUTINE, not_before=NOW,
    )  # fmt: skip
    return replace(plain, **facts)


def a_held_photo(name: str = "a", *, key: str = KEY, feed: str = FEED, **facts: Any) -> Photo:
    """Return a photo of whose newest version there is a copy."""
    return a_photo(name, key=key, feed=feed, **{"copy": a_copy(name, key=key, feed=feed), **facts})


def a_listing(*photos: Photo, key: str = KEY, feed: str = FEED, **facts: Any) -> Listing:
    """Return a displayed listing that shows the photos in this order."""
    in_order = tuple(replace(photo, order=order) for order, photo in enumerate(photos))
    plain = Listing(
        feed=feed, key=key, standard_status="Active", city="Guelph", modified_at=NOW, media_changed_at=NOW,
        position=Position(NOW, 0, 0), seen_at=NOW, photos=in_order,
    )  # fmt: skip
    return replace(plain, **facts)


def hidden(since: float = 0, remove_at: float = 5, reason: RemovalReason = RemovalReason.LISTING_INACTIVE) -> Hidden:
    """Return what hides a listing; times in seconds after NOW."""
    return Hidden(reason=reason, since=after(since), remove_at=after(remove_at))


def a_discard(photo: str = "a", *, held: Copy | None = None, **facts: Any) -> Discard:
    """Return the order to remove at NOW what a copy of the photo was stored under, as superseded."""
    held = held or a_copy(photo)
    plain = Discard(
        image_id=image_id(FEED, KEY, photo), object_id=photo, reason=RemovalReason.SUPERSEDED, since=NOW, remove_at=NOW,
        public_keys=tuple(variant.key for variant in held.variants), original_keys=(held.original_key,), whole=False,
    )  # fmt: skip
    return replace(plain, **facts)
