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
    """What a picture of a listing shows, as answers tell it."""

    PHOTO = "photo"
    FLOOR_PLAN = "floor-plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant of a copy, as stored in the public bucket under `key`.

    `width` and `height` are in pixels, `file_size` is in bytes. `is_cropped` is True if the setting asked for a crop.
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

    `width` and `height` in pixels, `file_size` in bytes and `content_type` are the original's; `sha256` is the hash of
    its bytes, in hex. `etag` and `last_modified` are the validators that the origin gave, for conditional requests;
    None if it gave none. `checked_at` is when the copy was stored, or last confirmed by the origin.
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
        """The variant named `full`, whose URL and sizes an answer gives as those of the image."""
        return next(variant for variant in self.variants if variant.name == "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's lease on a photo that it attempts; if the photo is not settled by `until`, it is due again."""

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
        """True if the photo has a copy whose validators came from the photo's URL: the origin compares no other."""
        copy = self.copy
        return copy is not None and copy.has_validator and copy.source_url_key == url_key(self.url)

    @property
    def waits_for_new_url(self) -> bool:
        """True if the photo's URL can be used only once and was used: no fetch until the MLS announces another URL.

        False for a feed whose URLs can be used again.
        """
        return self.used_url_key is not None and self.used_url_key == url_key(self.url)

    @property
    def wants_rebuild(self) -> bool:
        """True if the next attempt is a rebuild: it was asked for, and the MLS announced no newer version since."""
        return self.copy is not None and self.copy.rendering == REBUILD_WANTED and not self.is_outdated

    @property
    def wants_attempt(self) -> bool:
        """True if the photo's copy is missing or outdated, or an attempt was forced.

        False all the same if the attempt would need a URL, and the photo waits for a new URL (`waits_for_new_url`).
        """
        is_wanted = self.copy is None or self.is_outdated or self.forced_at is not None
        return is_wanted and (self.wants_rebuild or not self.waits_for_new_url)

    @property
    def due_at(self) -> datetime | None:
        """When the photo's next attempt is due; None if no attempt is wanted.

        The listing may forbid attempts: `Listing.photo_due_at` is the time that counts.
        """
        return self.not_before if self.wants_attempt else None

    def is_claimed(self, now: datetime) -> bool:
        """Return True if any worker has a recorded claim on the photo that has not ended at `now`."""
        return self.claim is not None and now < self.claim.until


def fresh_url_key(url: str) -> str:
    """Return the key under which a used URL is recorded if the photo's URLs are read anew before each fetch.

    It equals no `url_key`, so the photo does not wait for the MLS to announce another URL.
    """
    return f"fresh:{url_key(url)}"


def image_id(feed: str, listing_key: str, object_id: str) -> str:
    """Return the `image_id` of a photo: 32 hex digits of a hash, always the same for the same photo."""
    identity = _IDENTITY.encode([feed, listing_key, object_id]).encode()
    return hashlib.sha256(identity).hexdigest()[:32]


def url_key(url: str) -> str:
    """Return the key by which MongoDB's index finds a photo by an announced URL.

    The key is 24 hex digits of a hash, to keep the index small.
    """
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def url_keys(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the keys (`url_key`) of the URLs in their order, each key once."""
    return tuple(dict.fromkeys(url_key(url) for url in urls))
