"""What does the MLS announce of a listing? Reads property records by the feed's rules; bad photos are set aside."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from shared.domain import media
from shared.domain.feed import Feed
from shared.domain.freshness import Position, Version
from shared.domain.listing import RemovalReason, SetAside
from shared.domain.media import AnnouncedPhoto, RetainedPhoto
from shared.domain.media_words import UnknownWord
from shared.domain.times import TimeRules, read_time
from shared.domain.words import Flag, flag, plain, plain_set, text

_OPT_OUT, _CAN_VIEW = "InternetEntireListingDisplayYN", "MlgCanView"


class InvalidPropertyRecord(ValueError):
    """Raised if a property record cannot be understood: no announcement can be read from it.

    The record becomes a dead letter, with this exception's message as the reason.
    """


class RemovalTime(Enum):
    """When the copies of a hidden listing are removed."""

    AT_ONCE = "at-once"
    AFTER_KEEPING = "after-keeping"
    """After the feed's `keep_after_inactive_hours`."""
    NEVER = "never"
    """Not before the MLS says a word that is known."""


class Hiding(NamedTuple):
    """Why a property record says that its listing may not be shown, and when the listing's copies are removed."""

    reason: RemovalReason
    removal: RemovalTime
    unknown: UnknownWord | None = None
    """The word that hides the listing, if no rule knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a property record says of its listing and the listing's photos, as read by the feed's rules."""

    feed: str
    listing_key: str
    standard_status: str | None
    hiding: Hiding | None
    """Why the listing may not be shown, and what follows for its copies; None if it may be shown."""
    city: str | None
    version: Version
    photos: tuple[AnnouncedPhoto, ...] | None
    """The photos to show, in order. None if the record says nothing about photos, or if none of its `Media` rows can be
    understood: an error of the MLS never means "no photos"."""
    retained: tuple[RetainedPhoto, ...]
    """The photos that stay as they are recorded, although the record has no row of them that can be fetched now."""
    lacks_photos: bool
    """True if the record has fewer photos than its PhotosCount says, and a media timestamp of its own.

    If that timestamp is not newer than the recorded one, no photo was withdrawn, and the rows were cut.
    """
    set_aside: tuple[SetAside, ...]
    unknown_words: frozenset[UnknownWord]
    """The words of the record that no rule knows: operators are told of them."""
    event_id: str
    """The id of the event that brought the record; empty without an event."""

    @property
    def hidden_by(self) -> RemovalReason | None:
        """The reason why the listing may not be shown; None if it may be shown."""
        return self.hiding.reason if self.hiding else None


def read(
    feed: Feed, record: Mapping[str, object], position: Position | None = None, event_id: str = ""
) -> Announcement:
    """Read a property record as the MLS gave it, by the feed's rules; return its announcement.

    `position` is the place of the record's event on the topic, and `event_id` that event's id; None and empty if no
    event brought the record. A `Media` row that cannot be understood is set aside.

    Raises InvalidPropertyRecord if the ListingKey is missing, if `Media` has no form that holds rows, or if a timestamp
    cannot be read. A record that hides its listing may have unreadable timestamps; they count as missing.
    """
    key = listing_key(record)
    hiding = _hiding(feed, record)
    times = _time_rules(feed.records_time_zone, feed.records_day_first, hiding is not None)
    try:
        found = media.read(feed, record.get("Media"), record.get("PhotosCount"), times)
    except ValueError as error:
        raise InvalidPropertyRecord(str(error)) from None
    own_media_timestamp = _own_media_timestamp(record, times)
    version = Version(
        modified_at=_timestamp(record, "ModificationTimestamp", times),
        media_changed_at=own_media_timestamp or found.changed_at,
        position=position,
    )
    return Announcement(
        feed=feed.name,
        listing_key=key,
        standard_status=text(record.get("StandardStatus")),
        hiding=hiding,
        city=text(record.get("City")),
        version=version,
        photos=found.photos,
        retained=found.retained,
        lacks_photos=found.is_short and own_media_timestamp is not None,
        set_aside=found.set_aside,
        unknown_words=found.unknown_words | ({hiding.unknown} if hiding and hiding.unknown else set()),
        event_id=event_id,
    )


def read_version(feed: Feed, record: Mapping[str, object], position: Position | None = None) -> Version | None:
    """Return the version of a property record, read by the feed's rules, without reading its photos.

    `position` is the place of the record's event on the topic; None if no event brought the record. Return None if the
    version cannot be known without the photos, so that the caller must use `read`: the listing has no media timestamp
    of its own, or `Media` has no form that holds rows. Raises InvalidPropertyRecord if a timestamp cannot be read; a
    record that hides its listing may have unreadable ones.
    """
    times = _time_rules(feed.records_time_zone, feed.records_day_first, _hiding(feed, record) is not None)
    modified_at = _timestamp(record, "ModificationTimestamp", times)
    media_changed_at = _own_media_timestamp(record, times)
    if media_changed_at is None or not media.is_readable(record.get("Media")):
        return None
    return Version(modified_at=modified_at, media_changed_at=media_changed_at, position=position)


def hides(feed: Feed, record: Mapping[str, object]) -> bool:
    """Return True if this property record says, by the feed's rules, that its listing may not be shown."""
    return _hiding(feed, record) is not None


def listing_key(record: Mapping[str, object]) -> str:
    """Return the ListingKey of a property record. Raises InvalidPropertyRecord if it has none."""
    key = text(record.get("ListingKey"))
    if key is None:
        raise InvalidPropertyRecord("ListingKey is missing")
    return key


def _hiding(feed: Feed, record: Mapping[str, object]) -> Hiding | None:
    """Return why the listing may not be shown, by its property record; None if it may be shown.

    If several rules hide the listing, the first of these gives the reason: a "no" in the opt-out field, a "no" in
    MlgCanView, a status that the feed does not display, and a word in one of the two fields that is neither yes nor no.
    """
    opt_out, can_view = flag(record.get(_OPT_OUT)), flag(record.get(_CAN_VIEW))
    if opt_out is Flag.NO:
        return Hiding(RemovalReason.OPT_OUT, RemovalTime.AT_ONCE)
    if can_view is Flag.NO:
        return Hiding(RemovalReason.LISTING_INACTIVE, RemovalTime.AT_ONCE)
    status = text(record.get("StandardStatus"))
    if status is not None and plain(status) not in plain_set(feed.displayed_statuses):
        return Hiding(RemovalReason.LISTING_INACTIVE, RemovalTime.AFTER_KEEPING)
    if opt_out is Flag.UNKNOWN:
        return Hiding(RemovalReason.OPT_OUT, RemovalTime.NEVER, _unknown_word(record, _OPT_OUT))
    if can_view is Flag.UNKNOWN:
        return Hiding(RemovalReason.LISTING_INACTIVE, RemovalTime.NEVER, _unknown_word(record, _CAN_VIEW))
    return None


def _unknown_word(record: Mapping[str, object], field: str) -> UnknownWord:
    return UnknownWord(field, str(record.get(field)))


_time_rules = lru_cache(TimeRules)


def _own_media_timestamp(record: Mapping[str, object], times: TimeRules) -> datetime | None:
    return _timestamp(record, "MediaChangeTimestamp", times) or _timestamp(record, "PhotosChangeTimestamp", times)


def _timestamp(record: Mapping[str, object], name: str, times: TimeRules) -> datetime | None:
    """Return the listing's timestamp in the field `name`; None if the field is empty.

    A timestamp that cannot be read gives None if the record hides its listing (`times.hides`); otherwise this function
    raises InvalidPropertyRecord.
    """
    try:
        return read_time(record.get(name), times)
    except ValueError:
        if times.hides:
            return None
        raise InvalidPropertyRecord(f"{name} is not a timestamp") from None
