"""Which photos do the rows of `Media` announce, in which order? Bad rows are set aside; each photo is taken once."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from shared.domain.feed import Feed
from shared.domain.image import Category, url_keys
from shared.domain.listing import SetAside
from shared.domain.media_urls import UrlFilter, cleaned
from shared.domain.media_words import Objection, UnknownWord, meaning
from shared.domain.times import TimeRules, read_time
from shared.domain.words import Flag, flag, plain, plain_set, text, texts

MAX_PHOTOS = 500
_SIZES = ("largest", "large", "medium", "small", "thumbnail")
_OLDEST = datetime.min.replace(tzinfo=UTC)
_ROW_FIELDS = frozenset({"MediaKey", "MediaURL", "MediaObjectID", "MediaCategory", "MediaStatus", "Order"})
_MAX_COUNT_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedPhoto:
    """A photo as a property record announces it, in the largest size that the feed's rules allow."""

    object_id: str
    media_key: str
    url: str
    url_keys: tuple[str, ...]
    """The keys (`image.url_key`) of the photo's URLs in all sizes."""
    caption: str
    own_changed_at: datetime | None
    """The photo's MediaModificationTimestamp; None if the MLS gave none."""
    category: Category = Category.PHOTO


@dataclass(frozen=True, slots=True)
class RetainedPhoto:
    """A photo that a property record names, but without a row to fetch it from now: the recorded photo stays as it is.

    `place` is how many announced photos come before it in the listing.
    """

    object_id: str
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedMedia:
    """What the `Media` rows of a property record say about the listing's photos."""

    photos: tuple[AnnouncedPhoto, ...] | None
    """The photos to show, in order. None if the rows say nothing about the listing's photos."""
    retained: tuple[RetainedPhoto, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    unknown_words: frozenset[UnknownWord] = frozenset()
    is_short: bool = False
    """True if the record's PhotosCount is higher than the number of photos that the rows name."""
    changed_at: datetime | None = None
    """The newest MediaModificationTimestamp of the rows; None if they have none."""


class _Row(NamedTuple):
    """A row of `Media`: one size of one photo."""

    object_id: str
    media_key: str
    url: str
    """The URL to fetch; empty if the row has none that is valid."""
    urls: tuple[str, ...]
    """The URL as announced, and as it is fetched."""
    size_rank: int
    order: tuple[float, bool, int]
    """RESO's Order, then preferred photos first, then the place in the record."""
    caption: str
    changed_at: datetime | None
    category: Category
    objection: Objection | None
    """Why the row is not to be fetched; None if it may be."""


def is_readable(media: object) -> bool:
    """Return True if `read` accepts this `Media`: it is null, or has a form that can hold rows."""
    return media is None or isinstance(media, list) or (isinstance(media, dict) and _wrapped(media) is not None)


def read(feed: Feed, media: object, photos_count: object, times: TimeRules) -> AnnouncedMedia:
    """Return what `Media` of a property record says of the listing's photos, read by the feed's rules.

    `media` is null, a list of rows, a single row, or an object with one value that is a row or a list of rows. Raises
    ValueError if it is anything else. `photos_count` is the record's PhotosCount. `times` says how the MLS writes
    times.

    In the result, `photos` is None if `media` says nothing about the photos: it is null, it is empty although
    `photos_count` is above 0, or none of its rows can be used. An error of the MLS never means "no photos".
    """
    if media is None:
        return AnnouncedMedia(photos=None)
    raws = _wrapped(media) if isinstance(media, dict) else media
    if not isinstance(raws, list):
        raise ValueError(f"Media must be a list of rows, not {type(media).__name__}")  # noqa: TRY004
    count = _count(photos_count)
    if not raws and count:
        return AnnouncedMedia(photos=None)
    rows, unusable = _rows(feed, raws, times)
    words = frozenset(row.objection.unknown for row in rows if row.objection and row.objection.unknown)
    changed_at = max((row.changed_at for row in rows if row.changed_at), default=None)
    if raws and not any(row.url for row in rows):
        return AnnouncedMedia(photos=None, set_aside=unusable, unknown_words=words, changed_at=changed_at)
    photos, retained, set_aside = _photos(rows, UrlFilter((url for row in rows for url in row.urls), feed.image_hosts))
    return AnnouncedMedia(
        photos=photos,
        retained=retained,
        set_aside=(*unusable, *set_aside),
        unknown_words=words,
        is_short=len({row.object_id for row in rows}) < count,
        changed_at=changed_at,
    )


def _wrapped(media: Mapping[str, object]) -> list[object] | None:
    """Return the rows of a `Media` that is an object: the object itself if it is a row, else those in its only value.

    Return None if the object is no row and holds no rows.
    """
    if not _ROW_FIELDS.isdisjoint(media):
        return [media]
    (inner,) = media.values() if len(media) == 1 else (None,)
    if isinstance(inner, dict):
        return [inner]
    return inner if isinstance(inner, list) and inner else None


def _count(value: object) -> int:
    """Return the record's PhotosCount, which is a number or a text of digits; 0 for any other value."""
    digits = (text(value) or "").strip()
    return int(digits) if digits.isdecimal() and len(digits) < _MAX_COUNT_DIGITS else 0


def _rows(feed: Feed, raws: Sequence[object], times: TimeRules) -> tuple[list[_Row], tuple[SetAside, ...]]:
    """Return the rows of `Media` whose photo is known, and why the rows that cannot be fetched are set aside.

    A row is in both results if its photo is known but its URL is missing or wrong.
    """
    has_keys = any(isinstance(raw, dict) and text(raw.get("MediaKey")) for raw in raws)
    names = _Names()
    rows: list[_Row] = []
    unusable: list[SetAside] = []
    for index, raw in enumerate(raws):
        try:
            fields = _fields(raw)
            key = text(fields.get("MediaKey")) or names.stand_in(fields, has_keys=has_keys)
            rows.append(row := _row(feed, fields, key, index, times))
            reason = row.objection.reason if row.objection and not row.url else None
        except ValueError as error:
            reason = str(error)
        if reason is not None:
            name = raw.get("MediaKey") if isinstance(raw, dict) else None
            unusable.append(SetAside(media_key=str(name or f"Media[{index}]")[:200], reason=reason[:300]))
    return rows, tuple(unusable[:MAX_PHOTOS])


def _fields(raw: object) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise ValueError("the row is not an object")  # noqa: TRY004
    return raw


class _Names:
    """Gives keys to those rows of one property record that have no MediaKey."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def stand_in(self, raw: Mapping[str, object], *, has_keys: bool) -> str:
        """Return the key to use for a row without MediaKey: its MediaObjectID, else a hash of its URL.

        From the second row with the same URL on, the row's number among these rows is appended to the hash. Raises
        ValueError if the row has neither MediaObjectID nor URL, or if another row of the record has a MediaKey
        (`has_keys`).
        """
        key = None if has_keys else text(raw.get("MediaObjectID")) or self._of_url(text(raw.get("MediaURL")))
        if key is None:
            raise ValueError("MediaKey is missing")
        return key

    def _of_url(self, url: str | None) -> str | None:
        if url is None:
            return None
        name = f"url-{hashlib.sha256(url.strip().encode('utf-8', 'replace')).hexdigest()[:24]}"
        self._seen[name] = number = self._seen.get(name, 0) + 1
        return name if number == 1 else f"{name}-{number}"


def _row(feed: Feed, raw: Mapping[str, object], key: str, index: int, times: TimeRules) -> _Row:
    url, fault = _url(raw.get("MediaURL"))
    size = text(raw.get("ImageSizeDescription"))
    words = meaning(feed, raw)
    announced = raw.get("MediaURL")
    return _Row(
        object_id=text(raw.get("MediaObjectID")) or key,
        media_key=key,
        url=url,
        urls=(url,) if url in ("", announced) else (str(announced), url),
        size_rank=_size_rank(size),
        order=(_order(raw.get("Order")), flag(raw.get("PreferredPhotoYN")) is not Flag.YES, index),
        caption=text(raw.get("ShortDescription")) or text(raw.get("LongDescription")) or "",
        changed_at=_changed_at(raw.get("MediaModificationTimestamp"), times),
        category=words.category,
        objection=_forbidden(feed, size, raw.get("Permission")) or fault or words.objection,
    )


def _url(value: object) -> tuple[str, Objection | None]:
    """Return the URL to fetch of a row and None; if the row has no valid URL, an empty text and the objection."""
    url = text(value)
    try:
        return (cleaned(url), None) if url else ("", Objection("MediaURL is missing", retains=True))
    except ValueError as error:
        return "", Objection(str(error), retains=True)


def _changed_at(value: object, times: TimeRules) -> datetime | None:
    """Return a row's timestamp; None if it is missing or cannot be read, so that the listing's timestamp counts."""
    try:
        return read_time(value, times)
    except ValueError:
        return None


def _forbidden(feed: Feed, size: str | None, permission: object) -> Objection | None:
    """Return an objection if a rule of the feed forbids rows of this size or permission; None if they are allowed."""
    if size is not None and plain(size) in plain_set(feed.never_sizes):
        return Objection(f"size {size} is one of never_sizes")
    listed = texts(permission) if permission else ()
    if listed and plain_set(feed.permissions).isdisjoint(map(plain, listed)):
        return Objection(f"permission {', '.join(listed)} is none of permissions")
    return None


def _photos(
    rows: Sequence[_Row], captions: UrlFilter
) -> tuple[tuple[AnnouncedPhoto, ...], tuple[RetainedPhoto, ...], tuple[SetAside, ...]]:
    """Return the photos that a listing's rows announce, the retained photos, and why rows are set aside.

    Announced photos are in the MLS's order. `rows` may hold several sizes of one photo, each as a row; a photo is
    announced if one of its rows may be fetched. There are at most `MAX_PHOTOS` announced photos and as many set aside.
    `captions` tells which captions name a URL of the MLS.
    """
    rows_by_photo: dict[str, list[_Row]] = {}
    for row in rows:
        rows_by_photo.setdefault(row.object_id, []).append(row)
    in_order = sorted(rows_by_photo.values(), key=_place)
    shown: list[AnnouncedPhoto] = []
    retained: list[RetainedPhoto] = []
    set_aside: list[SetAside] = []
    for sizes in in_order:
        allowed = [row for row in sizes if row.objection is None]
        if allowed:
            shown.append(_largest(allowed, sizes, captions))
        elif any(row.objection and row.objection.retains for row in sizes):
            retained.append(RetainedPhoto(sizes[0].object_id, len(shown)))
        if not allowed:
            set_aside += _reasons(sizes)
    too_many = f"a listing shows at most {MAX_PHOTOS} photos"
    set_aside += [SetAside(media_key=photo.media_key, reason=too_many) for photo in shown[MAX_PHOTOS:]]
    return tuple(shown[:MAX_PHOTOS]), tuple(retained), tuple(set_aside[:MAX_PHOTOS])


def _place(sizes: Sequence[_Row]) -> tuple[float, bool, int]:
    """Return the key by which the listing's photos are sorted: the lowest `order` of one photo's rows.

    `sizes` are all rows of the photo. Only those that may be fetched count, if there are any.
    """
    return min([row.order for row in sizes if row.objection is None] or [row.order for row in sizes])


def _reasons(sizes: Sequence[_Row]) -> Iterator[SetAside]:
    """Yield why a photo is set aside if none of its rows may be fetched: the objection to the first row with a URL.

    `sizes` are all rows of the photo. Rows without a URL are not considered, because `_rows` has set aside each of
    them.
    """
    first = next((row for row in sizes if row.url), None)
    if first and first.objection:
        yield SetAside(media_key=first.media_key, reason=first.objection.reason)


def _largest(allowed: Sequence[_Row], sizes: Sequence[_Row], captions: UrlFilter) -> AnnouncedPhoto:
    """Return the photo that the row of its largest allowed size announces.

    `sizes` are all rows of the photo in the order of the record; `allowed` are those that may be fetched, at least one.
    Of several rows of that size, the one with the latest timestamp is used; of equal timestamps, the last row. A
    caption that has a URL of the MLS is left empty.
    """
    best = max(reversed(allowed), key=lambda row: (-row.size_rank, row.changed_at or _OLDEST))
    return AnnouncedPhoto(
        object_id=best.object_id,
        media_key=best.media_key,
        url=best.url,
        url_keys=url_keys([url for row in sizes for url in row.urls if url]),
        caption=best.caption if captions.is_clean(best.caption) else "",
        own_changed_at=best.changed_at,
        category=best.category,
    )


def _size_rank(size: str | None) -> int:
    """Return the rank of a size, from 0 for the largest; the highest rank is for an unknown size.

    A row without a size has the rank 0.
    """
    if size is None:
        return 0
    return _SIZES.index(plain(size)) if plain(size) in _SIZES else len(_SIZES)


def _order(value: object) -> float:
    """Return a row's RESO Order as a number; infinity, which sorts last, if Order is missing or cannot be read."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return float("inf")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return float("inf")
    return number if number == number else float("inf")  # noqa: PLR0124 - NaN has no place in an order
