"""What does the MLS announce of a listing? Reads property records by the feed's rules; bad photos are set aside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import NamedTuple

from shared.domain.feed import Feed
from shared.domain.freshness import Position, Version, newest, parse_timestamp
from shared.domain.image import url_keys
from shared.domain.listing import RemovalReason, SetAside

MAX_PHOTOS = 500
_SIZES = ("largest", "large", "medium", "small", "thumbnail")
_REQUIRED = (("MediaStatus", "active"), ("MediaCategory", "photo"))
_OLDEST = datetime.min.replace(tzinfo=UTC)
_MAX_CACHED_LENGTH = 100


class InvalidPropertyRecord(ValueError):
    """A property record cannot be understood at all.

    The record becomes a dead letter, with this message as the reason.
    """


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a property record says of its listing and the listing's photos, as read by the feed's rules."""

    feed: str
    listing_key: str
    standard_status: str | None
    hidden_by: RemovalReason | None
    """Why the listing may not be shown; None if it may be shown."""
    may_be_kept: bool
    """True if the feed's `keep_after_inactive_hours` applies; False for an opt-out and for MlgCanView false."""
    city: str | None
    version: Version
    photos: tuple[AnnouncedPhoto, ...] | None
    """The photos to show, in order. None if the record says nothing about photos, or if none of its `Media` rows can be
    understood: an error of the MLS never means "no photos"."""
    set_aside: tuple[SetAside, ...]
    event_id: str
    """The id of the event that brought the record; empty without an event."""


class _Row(NamedTuple):
    """A row of `Media`: one size of one photo."""

    object_id: str
    media_key: str
    url: str
    size_rank: int
    order: float
    caption: str
    changed_at: datetime | None
    refusal: str | None
    """Why the feed's rules forbid the use of the row; None if they allow it."""


def read(
    feed: Feed, record: Mapping[str, object], position: Position | None = None, event_id: str = ""
) -> Announcement:
    """Read a property record as the MLS gave it, by the feed's rules; return its announcement.

    `position` is the place of the record's event on the topic, and `event_id` that event's id; None and empty if no
    event brought the record. Raises InvalidPropertyRecord if the ListingKey is missing, a timestamp of the listing
    cannot be read, or `Media` is not a list. A `Media` row that cannot be understood is set aside.
    """
    key = listing_key(record)
    rows, unusable = _rows(feed, record.get("Media"))
    hidden_by, may_be_kept = _hidden_by(feed, record)
    photos, set_aside = (None, ()) if rows is None or (unusable and not rows) else _photos(rows)
    announced_media = _own_media_timestamp(record) or newest(*(row.changed_at for row in rows or ()))
    return Announcement(
        feed=feed.name,
        listing_key=key,
        standard_status=_text(record.get("StandardStatus")),
        hidden_by=hidden_by,
        may_be_kept=may_be_kept,
        city=_text(record.get("City")),
        version=Version(
            modified_at=_timestamp(record, "ModificationTimestamp"),
            media_changed_at=announced_media,
            position=position,
        ),
        photos=photos,
        set_aside=(*unusable, *set_aside),
        event_id=event_id,
    )


def read_version(record: Mapping[str, object], position: Position | None = None) -> Version | None:
    """Return the version of a property record without reading its photos.

    `position` is the place of the record's event on the topic; None if no event brought the record. Return None if only
    `read` can tell the version: the listing has no media timestamp of its own, so that the photos' timestamps count, or
    `Media` is not a list. Raises InvalidPropertyRecord if a timestamp cannot be read.
    """
    modified_at, media_changed_at = _timestamp(record, "ModificationTimestamp"), _own_media_timestamp(record)
    if media_changed_at is None or not isinstance(record.get("Media"), (list, type(None))):
        return None
    return Version(modified_at=modified_at, media_changed_at=media_changed_at, position=position)


def _own_media_timestamp(record: Mapping[str, object]) -> datetime | None:
    return _timestamp(record, "MediaChangeTimestamp") or _timestamp(record, "PhotosChangeTimestamp")


def listing_key(record: Mapping[str, object]) -> str:
    """Return the ListingKey of a property record. Raises InvalidPropertyRecord if it has none."""
    return _required_text(record, "ListingKey")


def _hidden_by(feed: Feed, record: Mapping[str, object]) -> tuple[RemovalReason | None, bool]:
    """Return two values that the listing's property record decides: why it may not be shown, and if copies may stay.

    The first is None if the listing may be shown. The second is True if its copies may be kept for a time while it is
    hidden for that reason; it is False after an opt-out, or if the MLS does not let us see the listing any more.
    """
    if _is_explicit_false(record.get("InternetEntireListingDisplayYN")):
        return RemovalReason.OPT_OUT, False
    if _is_explicit_false(record.get("MlgCanView")):
        return RemovalReason.LISTING_INACTIVE, False
    status = _text(record.get("StandardStatus"))
    if status is None or _plain(status) in {_plain(displayed) for displayed in feed.displayed_statuses}:
        return None, True
    return RemovalReason.LISTING_INACTIVE, True


def _rows(feed: Feed, media: object) -> tuple[list[_Row] | None, tuple[SetAside, ...]]:
    """Return the rows of `Media` that can be understood, and the other rows, set aside with the reason.

    The first value is None if the record has no `Media` (`media` is None). Raises InvalidPropertyRecord if `Media` is
    not a list.
    """
    if media is None:
        return None, ()
    if not isinstance(media, list):
        raise InvalidPropertyRecord(f"Media must be a list of rows, not {type(media).__name__}")
    rows: list[_Row] = []
    unusable: list[SetAside] = []
    for index, raw in enumerate(media):
        try:
            rows.append(_row(feed, raw))
        except ValueError as error:
            name = raw.get("MediaKey") if isinstance(raw, dict) else None
            unusable.append(SetAside(media_key=str(name or f"Media[{index}]")[:200], reason=str(error)[:300]))
    return rows, tuple(unusable[:MAX_PHOTOS])


def _row(feed: Feed, raw: object) -> _Row:
    if not isinstance(raw, dict):
        raise ValueError("the row is not an object")  # noqa: TRY004
    media_key = _required_text(raw, "MediaKey")
    url = _required_text(raw, "MediaURL")
    if not url[:8].lower().startswith(("http://", "https://")):
        raise ValueError("MediaURL is not an http(s) URL")
    try:
        changed_at = parse_timestamp(raw.get("MediaModificationTimestamp"))
    except ValueError:
        raise ValueError("MediaModificationTimestamp is not a timestamp") from None
    return _Row(
        object_id=_text(raw.get("MediaObjectID")) or media_key,
        media_key=media_key,
        url=url,
        size_rank=_size_rank(_text(raw.get("ImageSizeDescription"))),
        order=_order(raw.get("Order")),
        caption=_text(raw.get("ShortDescription")) or _text(raw.get("LongDescription")) or "",
        changed_at=changed_at,
        refusal=_refusal(feed, raw),
    )


def _refusal(feed: Feed, raw: Mapping[str, object]) -> str | None:
    """Return why the feed's rules forbid the use of a `Media` row; None if they allow it."""
    size = _text(raw.get("ImageSizeDescription"))
    if size is not None and _plain(size) in _plain_set(feed.never_sizes):
        return f"size {size} is one of never_sizes"
    listed = _texts(raw.get("Permission"))
    if listed and _plain_set(feed.permissions).isdisjoint(map(_plain, listed)):
        return f"permission {', '.join(listed)} is none of permissions"
    for name, required in _REQUIRED:
        value = _text(raw.get(name))
        if value is not None and _plain(value) != required:
            return f"{name} is {value}"
    return None


def _photos(rows: Sequence[_Row]) -> tuple[tuple[AnnouncedPhoto, ...], tuple[SetAside, ...]]:
    """Return the photos that a listing's `Media` rows announce, in the MLS's order, and the photos that are set aside.

    `rows` may hold several sizes of one photo, each a row. A photo is set aside if the feed's rules forbid all its
    rows, or if it comes after the first `MAX_PHOTOS`. At most `MAX_PHOTOS` of those set aside are returned.
    """
    rows_by_photo: dict[str, list[_Row]] = {}
    for row in rows:
        rows_by_photo.setdefault(row.object_id, []).append(row)
    shown: list[tuple[float, str, AnnouncedPhoto]] = []
    set_aside: list[SetAside] = []
    for object_id, sizes in rows_by_photo.items():
        allowed = [row for row in sizes if row.refusal is None]
        if allowed:
            order = min(row.order for row in allowed)
            shown.append((order, object_id, _largest(allowed, sizes)))
        else:
            set_aside.append(SetAside(media_key=sizes[0].media_key, reason=sizes[0].refusal or ""))
    shown.sort(key=lambda photo: photo[:2])
    too_many = f"a listing shows at most {MAX_PHOTOS} photos"
    set_aside += [SetAside(media_key=photo.media_key, reason=too_many) for _, _, photo in shown[MAX_PHOTOS:]]
    return tuple(photo for _, _, photo in shown[:MAX_PHOTOS]), tuple(set_aside[:MAX_PHOTOS])


def _largest(allowed: Sequence[_Row], sizes: Sequence[_Row]) -> AnnouncedPhoto:
    """Return one photo as the row of its largest allowed size announces it.

    `sizes` are all rows of the photo in the order of the record, `allowed` those of them that the feed's rules allow,
    at least one. Of rows of the same size, the one with the latest timestamp is taken; of equal ones, the last.
    """
    best = max(reversed(allowed), key=lambda row: (-row.size_rank, row.changed_at or _OLDEST))
    return AnnouncedPhoto(
        object_id=best.object_id,
        media_key=best.media_key,
        url=best.url,
        url_keys=url_keys([row.url for row in sizes]),
        # Answers show the caption, and must not show a URL of the MLS.
        caption="" if "://" in best.caption and any(row.url in best.caption for row in sizes) else best.caption,
        own_changed_at=best.changed_at,
    )


def _size_rank(size: str | None) -> int:
    """Return the rank of a size: 0 for Largest and for a row without a size, the highest for an unknown size."""
    if size is None:
        return 0
    plain = _plain(size)
    return _SIZES.index(plain) if plain in _SIZES else len(_SIZES)


def _order(value: object) -> float:
    """Return a row's RESO Order as a number; infinity, which sorts last, if it is missing or cannot be read."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return float("inf")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return float("inf")
    return number if number == number else float("inf")  # noqa: PLR0124 - NaN has no place in an order


def _timestamp(record: Mapping[str, object], name: str) -> datetime | None:
    try:
        return parse_timestamp(record.get(name))
    except ValueError:
        raise InvalidPropertyRecord(f"{name} is not a timestamp") from None


def _required_text(record: Mapping[str, object], name: str) -> str:
    text = _text(record.get(name))
    if text is None:
        raise InvalidPropertyRecord(f"{name} is missing")
    return text


def _text(value: object) -> str | None:
    """Return a text unchanged, and a whole number as its digits; None for a blank text and for any other value."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _texts(value: object) -> list[str]:
    """Return the texts in a list, or in a text that separates them by commas; empty for any other value."""
    if isinstance(value, str):
        return [text.strip() for text in value.split(",") if text.strip()]
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _is_explicit_false(value: object) -> bool:
    return value is False or (isinstance(value, str) and value.strip().casefold() in {"false", "n", "no", "0"})


def _plain(text: str) -> str:
    """Return the text in lower case and without spaces.

    MLSs write "Active Under Contract" and "ActiveUnderContract".
    """
    return _plain_word(text) if len(text) <= _MAX_CACHED_LENGTH else "".join(text.split()).casefold()


@lru_cache(maxsize=1_000)  # the records of a market repeat the same few words in every row
def _plain_word(text: str) -> str:
    return "".join(text.split()).casefold()


@cache
def _plain_set(names: tuple[str, ...]) -> frozenset[str]:
    """Return a list of names from `feeds.toml` in lower case and without spaces.

    Cached, because each row is compared with it.
    """
    return frozenset(map(_plain, names))
