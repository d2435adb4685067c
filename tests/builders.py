"""Builders of feeds, listings, photos, copies and property records: a test names the fields that matter to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain import announcement, keys, reconcile
from shared.domain.feed import Feed
from shared.domain.freshness import Position
from shared.domain.image import Copy, Photo, Variant, image_id, url_key, url_keys
from shared.domain.listing import Discard, Hidden, Listing, RemovalReason
from shared.domain.priority import Priority

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
FEED = "proptx-idx"
KEY = "X1"

Row = dict[str, Any]
"""A row of `Media`, or a whole property record."""


def after(seconds: float) -> datetime:
    """Return the time `seconds` seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    """Return the time `seconds` seconds after NOW, written as in a property record."""
    return after(seconds).isoformat().replace("+00:00", "Z")


def a_feed(**rules: Any) -> Feed:
    """Return the feed FEED with the given rules, and the default for each other rule."""
    given: dict[str, Any] = {"name": FEED, "image_hosts": ("photos.example.com",), **rules}
    return Feed(**given)


def a_row(key: str = "a", **fields: Any) -> Row:
    """Return a row of `Media` with a key, a URL, and the given fields. A field given as None is null."""
    return {"MediaKey": key, "MediaURL": f"https://photos.example.com/{key}.jpg", **fields}


def a_record(*rows: object, key: str = KEY, at: float | None = 0, **fields: Any) -> Row:
    """Return a property record of an active listing with these rows, changed `at` seconds after NOW.

    It has no timestamps if `at` is None.
    """
    stamps = {} if at is None else {"ModificationTimestamp": stamp(at), "MediaChangeTimestamp": stamp(at)}
    return {"ListingKey": key, "StandardStatus": "Active", "City": "Guelph", **stamps, "Media": list(rows), **fields}


def without(record: Row, *names: str) -> Row:
    """Return a copy of the property record or row without the named fields. The record itself stays as it is."""
    return {name: value for name, value in record.items() if name not in names}


def announced(
    record: Row, listing: Listing | None = None, *, feed: Feed | None = None, offset: int = 0, now: datetime = NOW
) -> Listing | None:
    """Return the listing as it is after the property record was announced, at `offset` of its topic; None if unchanged.

    `listing` is the listing before, None if it was never recorded. Nothing is written to a store.
    """
    rules = feed or a_feed()
    found = announcement.read(rules, record, Position(NOW, 0, offset))
    return reconcile.apply(listing, found, rules, now)


def with_copies(listing: Listing | None) -> Listing:
    """Return the listing with a copy of each photo's newest version. `listing` must not be None."""
    assert listing is not None
    return listing.with_photos(
        replace(photo, copy=a_copy(photo.object_id, mls_changed_at=photo.announced_at)) for photo in listing.photos
    )


def only_photo(listing: Listing | None) -> Photo:
    """Return the only photo of a listing. Fail if the listing is None or has another number of photos."""
    assert listing is not None
    (photo,) = listing.photos
    return photo


def a_copy(photo: str = "a", *, key: str = KEY, feed: str = FEED, sha256: str = "5a" * 32, **facts: Any) -> Copy:
    """Return a copy of the photo with this object id, with two variants, of the version that the MLS announced at NOW.

    `facts` are fields of the copy that differ from the usual ones.
    """
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
        source_url_key=url_key(f"https://photos.example.com/{photo}.jpg"),
    )  # fmt: skip
    return replace(plain, **facts)


def a_photo(name: str = "a", *, key: str = KEY, feed: str = FEED, **facts: Any) -> Photo:
    """Return a photo without a copy, announced and due at NOW.

    `name` is its object id; `facts` are fields that differ.
    """
    url = f"https://photos.example.com/{name}.jpg"
    plain = Photo(
        id=image_id(feed, key, name), object_id=name, media_key=name, url=url, url_keys=url_keys([url]), order=0,
        caption="", announced_at=NOW, has_own_timestamp=False, priority=Priority.ROUTINE, not_before=NOW,
    )  # fmt: skip
    return replace(plain, **facts)


def a_downloaded_photo(name: str = "a", *, key: str = KEY, feed: str = FEED, **facts: Any) -> Photo:
    """Return a photo with a copy of its newest version. `name` is its object id; `facts` are fields that differ."""
    return a_photo(name, key=key, feed=feed, **{"copy": a_copy(name, key=key, feed=feed), **facts})


def a_listing(*photos: Photo, key: str = KEY, feed: str = FEED, **facts: Any) -> Listing:
    """Return a displayed listing with the photos in this order. `facts` are fields that differ from the usual ones."""
    in_order = tuple(replace(photo, order=order) for order, photo in enumerate(photos))
    plain = Listing(
        feed=feed, key=key, standard_status="Active", city="Guelph", modified_at=NOW, media_changed_at=NOW,
        position=Position(NOW, 0, 0), seen_at=NOW, photos=in_order,
    )  # fmt: skip
    return replace(plain, **facts)


def hidden(since: float = 0, remove_at: float = 5, reason: RemovalReason = RemovalReason.LISTING_INACTIVE) -> Hidden:
    """Return what a listing has as `hidden`: since when, why, and when its photos are removed.

    `since` and `remove_at` are seconds after NOW.
    """
    return Hidden(reason=reason, since=after(since), remove_at=after(remove_at))


def a_discard(photo: str = "a", *, copy: Copy | None = None, **facts: Any) -> Discard:
    """Return a discard of a superseded copy of the photo, due at NOW.

    Without `copy`, its objects are those of `a_copy`. `facts` are fields that differ.
    """
    copy = copy or a_copy(photo)
    plain = Discard(
        image_id=image_id(FEED, KEY, photo), object_id=photo, reason=RemovalReason.SUPERSEDED, since=NOW, remove_at=NOW,
        public_keys=tuple(variant.key for variant in copy.variants), original_keys=(copy.original_key,), whole=False,
    )  # fmt: skip
    return replace(plain, **facts)
