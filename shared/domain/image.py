"""What do we know of one photo, and what follows from it? Status and due time are always computed from these facts."""

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
"""In place of a copy's rendering: of no settings' hash, so never taken for what is wanted."""
NO_RENDERING = ""
"""In place of a copy's rendering whose original is lost: variants cannot be made again, nor the copy rechecked."""


class Status(StrEnum):
    """What an image is for the outside."""

    PENDING = "pending"
    FAILED = "failed"
    DOWNLOADED = "downloaded"
    OUTDATED = "outdated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One rendering of a copy in the public bucket; sides in pixels, size in bytes."""

    name: str
    key: str
    content_type: str
    width: int
    height: int
    file_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What we hold of an image: the original as received, and its variants, widest first."""

    sha256: str
    original_key: str
    content_type: str
    width: int
    height: int
    file_size: int
    variants: tuple[Variant, ...]
    rendering: str
    """The hash of the settings that the variants were made by, see `variants.rendering`."""
    thumbhash: str
    etag: str | None
    last_modified: str | None
    mls_changed_at: datetime | None
    """The MLS's timestamp of the version that these bytes belong to."""
    downloaded_at: datetime
    checked_at: datetime

    @property
    def has_validator(self) -> bool:
        """Whether the origin said how to ask for something newer only."""
        return bool(self.etag or self.last_modified)

    @property
    def full(self) -> Variant:
        """The variant that answers' sizes and URL speak of."""
        return next(variant for variant in self.variants if variant.name == "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker has the photo in hand until the lease ends; then it is due again."""

    worker: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One photo that its listing shows."""

    id: str
    object_id: str
    media_key: str
    url: str
    """The MLS's own URL: fetched from, never shown."""
    url_keys: tuple[str, ...]
    """Hashes of every announced URL, any size, that the photo is resolved by."""
    order: int
    caption: str
    announced_at: datetime | None
    """The MLS's timestamp of the newest version."""
    has_own_timestamp: bool
    """False where the listing's timestamp stands in."""
    priority: Priority
    not_before: datetime
    """The earliest time for the next attempt, if one is wanted; the end of the lease while released."""
    released_at: datetime | None = None
    claim: Claim | None = None
    forced_at: datetime | None = None
    attempts: int = 0
    attempted_at: datetime | None = None
    failure: Failure | None = None
    cause: str = ""
    """The id of the event that announced the newest version: it follows the photo through logs and events."""
    used_url_key: str | None = None
    """The key of the URL that was asked for, where the feed's URLs work once."""
    copy: Copy | None = None

    @property
    def is_outdated(self) -> bool:
        """Whether the MLS announced a newer version than the copy's."""
        return self.copy is not None and is_newer(self.announced_at, self.copy.mls_changed_at)

    @property
    def status(self) -> Status:
        """One of four, by the contract's vocabulary."""
        if self.copy is not None:
            return Status.OUTDATED if self.is_outdated else Status.DOWNLOADED
        return Status.PENDING if self.failure is None else Status.FAILED

    @property
    def waits_for_new_url(self) -> bool:
        """Whether nothing can be tried before the MLS announces another URL."""
        return self.used_url_key is not None and self.used_url_key == url_key(self.url)

    @property
    def wants_rebuild(self) -> bool:
        """Whether only its variants are wanted anew, of the stored original: the origin is not asked."""
        return self.copy is not None and self.copy.rendering == REBUILD_WANTED and not self.is_outdated

    @property
    def wants_attempt(self) -> bool:
        """Whether a copy is missing, older than the MLS's, or asked for again by an operator, and can be had."""
        is_wanted = self.copy is None or self.is_outdated or self.forced_at is not None
        return is_wanted and (self.wants_rebuild or not self.waits_for_new_url)

    @property
    def due_at(self) -> datetime | None:
        """When the next attempt is due; None when there is nothing to do."""
        return self.not_before if self.wants_attempt else None

    def is_claimed(self, now: datetime) -> bool:
        """Whether a worker has it in hand."""
        return self.claim is not None and now < self.claim.until


def image_id(feed: str, listing_key: str, photo: str) -> str:
    """Return the deterministic, URL-safe id of a photo: 32 hex digits."""
    identity = _IDENTITY.encode([feed, listing_key, photo]).encode()
    return hashlib.sha256(identity).hexdigest()[:32]


def url_key(url: str) -> str:
    """Return what an announced URL is found by: short, so that the index over millions of them stays small."""
    return hashlib.sha256(url.encode()).hexdigest()[:24]


def url_keys(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of several URLs, without repeats, in order."""
    return tuple(dict.fromkeys(url_key(url) for url in urls))
