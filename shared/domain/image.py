"""What is recorded of a photo? Its status and its due time are computed from these facts, never stored on their own."""

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
"""In place of a copy's rendering whose variants are to be made again: no rendering has this hash."""
NO_RENDERING = ""
"""In place of a copy's rendering whose original is lost: variants cannot be made again, nor the copy rechecked."""


class Status(StrEnum):
    """An image's status by the contract."""

    PENDING = "pending"
    FAILED = "failed"
    DOWNLOADED = "downloaded"
    OUTDATED = "outdated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant of a copy, as stored in the public bucket under `key`; sides in pixels, size in bytes."""

    name: str
    key: str
    content_type: str
    width: int
    height: int
    file_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The stored files of a photo: the original as received, and its variants, widest first.

    Sides in pixels and the size in bytes are the original's. `etag` and `last_modified` are the origin's validators.
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
    """The MLS's timestamp of the version that the copy is of; None if the MLS gave none."""
    downloaded_at: datetime
    checked_at: datetime

    @property
    def has_validator(self) -> bool:
        """True if the origin gave a validator, so that the copy can be rechecked."""
        return bool(self.etag or self.last_modified)

    @property
    def full(self) -> Variant:
        """The variant named `full`, whose URL and sizes answers give as the image's."""
        return next(variant for variant in self.variants if variant.name == "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's lease on a photo that it attempts; when the lease ends, the photo is due again."""

    worker: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo that its listing shows."""

    id: str
    object_id: str
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
    """False if `announced_at` is the listing's timestamp, for want of one of the photo's own."""
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

    @property
    def is_outdated(self) -> bool:
        """True if there is a copy, and the MLS announced a newer version."""
        return self.copy is not None and is_newer(self.announced_at, self.copy.mls_changed_at)

    @property
    def status(self) -> Status:
        """The photo's status by the contract, computed from copy, failure and versions."""
        if self.copy is not None:
            return Status.OUTDATED if self.is_outdated else Status.DOWNLOADED
        return Status.PENDING if self.failure is None else Status.FAILED

    @property
    def waits_for_new_url(self) -> bool:
        """True if the photo's single-use URL was used: no fetch is possible before the MLS announces another."""
        return self.used_url_key is not None and self.used_url_key == url_key(self.url)

    @property
    def wants_rebuild(self) -> bool:
        """True if a rebuild is wanted, and the MLS announced nothing newer: the origin is not asked."""
        return self.copy is not None and self.copy.rendering == REBUILD_WANTED and not self.is_outdated

    @property
    def wants_attempt(self) -> bool:
        """True if the copy is missing or outdated, or an attempt was forced, and an attempt is possible."""
        is_wanted = self.copy is None or self.is_outdated or self.forced_at is not None
        return is_wanted and (self.wants_rebuild or not self.waits_for_new_url)

    @property
    def due_at(self) -> datetime | None:
        """When the next attempt is due if the listing allows it (`Listing.photo_due_at`); None if none is wanted."""
        return self.not_before if self.wants_attempt else None

    def is_claimed(self, now: datetime) -> bool:
        """Return True if a worker holds a claim on the photo now."""
        return self.claim is not None and now < self.claim.until


def image_id(feed: str, listing_key: str, object_id: str) -> str:
    """Return the id of a photo: 32 hex digits of a hash, always the same for the same photo."""
    identity = _IDENTITY.encode([feed, listing_key, object_id]).encode()
    return hashlib.sha256(identity).hexdigest()[:32]


def url_key(url: str) -> str:
    """Return the key that an announced URL is found by: 24 hex digits of a hash, to keep the index small."""
    return hashlib.sha256(url.encode()).hexdigest()[:24]


def url_keys(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of the URLs in their order, each key once."""
    return tuple(dict.fromkeys(url_key(url) for url in urls))
