"""What is recorded of a photo? Its status and its due time are computed from the recorded fields, never recorded."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.domain.failures import Failure
from shared.domain.freshness import is_newer
from shared.domain.priority import Priority

_IDENTITY = json.JSONEncoder(ensure_ascii=False)

REBUILD_WANTED = "-"
"""The `rendering` of a copy whose variants are to be made again. No hash equals this text."""
NO_RENDERING = ""
"""The `rendering` of a copy whose original is lost: its variants cannot be made again, and it is not rechecked."""


class Status(StrEnum):
    """The status of an image in answers and reports."""

    PENDING = "pending"
    """There is no copy yet, and no attempt at the newest announced version has failed."""
    FAILED = "failed"
    """There is no copy, and the last attempt failed."""
    DOWNLOADED = "downloaded"
    """The copy is of the newest version that the MLS announced."""
    OUTDATED = "outdated"
    """There is a copy, and the MLS announced a newer version; the copy is still served."""


class Category(StrEnum):
    """What a picture of a listing shows, as answers say it."""

    PHOTO = "photo"
    FLOOR_PLAN = "floor-plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant of a copy, as stored in the public bucket under `key`.

    `width` and `height` are in pixels, `file_size` is in bytes. `is_cropped` is True if the variants setting asked for
    a crop.
    """

    name: str
    key: str
    content_type: str
    width: int
    height: int
    file_size: int
    is_cropped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The files of a photo in object storage: the original as received, and its variants, widest first.

    `width` and `height` (pixels), `file_size` (bytes), `content_type` and `sha256` (hex) are those of the original.
    `etag` and `last_modified` are the validators that the origin gave, for conditional requests; None if it gave none.
    `checked_at` is when the copy was stored, or when the origin last confirmed it.
    """

    sha256: str
    original_key: str
    content_type: str
    width: int
    height: int
    file_size: int
    variants: tuple[Variant, ...]
    rendering: str
    """The hash of the settings and rules that made the variants (`variants.rendering`)."""
    thumbhash: str
    etag: str | None
    last_modified: str | None
    mls_changed_at: datetime | None
    """The MLS's timestamp of the version that was downloaded; None if the MLS gave none."""
    downloaded_at: datetime
    checked_at: datetime
    source_url_key: str | None = None
    """The key (`url_key`) of the URL that the validators came from; None if that is not known."""

    @property
    def has_validator(self) -> bool:
        """True if the origin gave a validator with this copy, so that the copy can be rechecked."""
        return bool(self.etag or self.last_modified)

    @property
    def full(self) -> Variant:
        """The variant named `full`: an answer gives its URL and its sizes as those of the image."""
        return next(variant for variant in self.variants if variant.name == "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's lease on a photo that it attempts. A photo that is not settled by `until` is due again."""

    worker: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """The record of a photo that its listing shows: what the MLS announced, how attempts went, and the photo's copy."""

    id: str
    """The `image_id` of events and URLs."""
    object_id: str
    """The photo's MediaObjectID, or its MediaKey if it has none."""
    media_key: str
    url: str
    """The MLS's URL, to fetch from; no answer, event or log line shows it."""
    url_keys: tuple[str, ...]
    """The keys (`url_key`) of all announced URLs, of any size; `?url=` finds the photo by them."""
    order: int
    caption: str
    announced_at: datetime | None
    """The MLS's timestamp of the newest announced version; None if the MLS gave none."""
    has_own_timestamp: bool
    """False if the MLS gave the photo no timestamp of its own, so that `announced_at` is the listing's."""
    priority: Priority
    not_before: datetime
    """When the next attempt is due, if one is wanted; while the photo is in flight, when its lease ends."""
    released_at: datetime | None = None
    claim: Claim | None = None
    forced_at: datetime | None = None
    attempts: int = 0
    attempted_at: datetime | None = None
    failure: Failure | None = None
    cause: str = ""
    """The id of the event that announced the newest version: the correlation id of logs and events."""
    used_url_key: str | None = None
    """The key (`url_key`) of the URL that was used, if the feed has single-use URLs."""
    copy: Copy | None = None
    category: Category = Category.PHOTO

    @property
    def is_outdated(self) -> bool:
        """True if the photo has a copy, and the MLS announced a newer version."""
        return self.copy is not None and is_newer(self.announced_at, self.copy.mls_changed_at)

    @property
    def status(self) -> Status:
        """The photo's status, computed from its copy, its failure and the newest announced version."""
        if self.copy is not None:
            return Status.OUTDATED if self.is_outdated else Status.DOWNLOADED
        return Status.PENDING if self.failure is None else Status.FAILED

    @property
    def can_recheck(self) -> bool:
        """True if the origin can be asked whether the photo's copy is still up to date.

        The copy must have validators that came from the photo's present URL, because the origin compares validators of
        that URL only.
        """
        copy = self.copy
        return copy is not None and copy.has_validator and copy.source_url_key == url_key(self.url)

    @property
    def waits_for_new_url(self) -> bool:
        """True if the photo's single-use URL is used: no fetch is possible until the MLS announces another URL.

        Always False for a feed whose URLs can be used again.
        """
        return self.used_url_key is not None and self.used_url_key == url_key(self.url)

    @property
    def wants_rebuild(self) -> bool:
        """True if the next attempt is a rebuild: a rebuild was asked for, and the MLS announced no newer version."""
        return self.copy is not None and self.copy.rendering == REBUILD_WANTED and not self.is_outdated

    @property
    def wants_attempt(self) -> bool:
        """True if the photo's copy is missing or outdated, or if an attempt was forced.

        A photo that waits for a new URL (`waits_for_new_url`) wants no attempt, except a rebuild, which needs no URL.
        """
        is_wanted = self.copy is None or self.is_outdated or self.forced_at is not None
        return is_wanted and (self.wants_rebuild or not self.waits_for_new_url)

    @property
    def due_at(self) -> datetime | None:
        """When the photo's next attempt is due, as far as the photo itself says; None if it wants no attempt.

        The photo's listing may forbid the attempt: `Listing.photo_due_at` considers that too.
        """
        return self.not_before if self.wants_attempt else None

    def is_claimed(self, now: datetime) -> bool:
        """Return True if any worker has claimed the photo, and the claim has not ended at `now`."""
        return self.claim is not None and now < self.claim.until


def fresh_url_key(url: str) -> str:
    """Return the key to record for a used URL if each attempt reads a fresh URL of the photo first.

    This key never equals a `url_key`. So `Photo.waits_for_new_url` stays False, and the next attempt can read another
    fresh URL.
    """
    return f"fresh:{url_key(url)}"


def image_id(feed: str, listing_key: str, object_id: str) -> str:
    """Return the `image_id` of a photo: 32 hex digits of a hash of feed, ListingKey and object id.

    The same photo always gets the same id.
    """
    identity = _IDENTITY.encode([feed, listing_key, object_id]).encode()
    return hashlib.sha256(identity).hexdigest()[:32]


def url_key(url: str) -> str:
    """Return the key of an announced URL, by which MongoDB's index finds the photo.

    The key is 24 hex digits of a hash of the URL, to keep the index small.
    """
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def url_keys(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the keys (`url_key`) of the URLs in the order of the URLs, each key once."""
    return tuple(dict.fromkeys(url_key(url) for url in urls))
