"""The events about images; docs/events.md explains their fields."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.image import Photo
from shared.domain.listing import Listing, RemovalReason
from shared.domain.priority import Priority


class OutdatedReason(StrEnum):
    """Why a photo needs an attempt."""

    MISSING = "missing"
    CHANGED = "changed"
    RETRY = "retry"
    FORCED = "forced"


class _OfImage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    feed: str = Field(min_length=1)
    listing_key: str = Field(min_length=1)
    image_id: str = Field(min_length=1)
    correlation_id: str = Field(default="", exclude=True)
    """The id of the `listing-seen` that announced the photo's version; a header of the record, not part of the data."""

    @property
    def subject(self) -> str:
        """The ListingKey."""
        return self.listing_key


class ImageOutdated(_OfImage):
    """A photo needs an attempt: it has no copy of its newest version, or its copy is to be requested again.

    A copy is requested again for a recheck, or because an operator forced it.
    """

    TYPE: ClassVar[str] = "image-outdated.v1"

    reason: OutdatedReason = OutdatedReason.MISSING
    priority: Priority = Priority.ROUTINE

    @classmethod
    def of(cls, listing: Listing, photo: Photo) -> "ImageOutdated":
        """Return the event for a photo that needs an attempt, with its priority and the reason for the attempt."""
        return cls(
            feed=listing.feed,
            listing_key=listing.key,
            image_id=photo.id,
            reason=_reason(photo),
            priority=photo.priority,
            correlation_id=photo.cause,
        )


def _reason(photo: Photo) -> OutdatedReason:
    if photo.failure is not None:
        return OutdatedReason.RETRY
    if photo.copy is None:
        return OutdatedReason.MISSING
    return OutdatedReason.CHANGED if photo.is_outdated else OutdatedReason.FORCED


class VariantDownloaded(BaseModel):
    """One variant of a copy: width and height in pixels, file size in bytes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    url: str
    width: int
    height: int
    file_size: int


class ImageDownloaded(_OfImage):
    """A copy of a photo was stored and recorded. `changed` is False if the original is the same as the previous one."""

    TYPE: ClassVar[str] = "image-downloaded.v1"

    order: int
    url: str
    content_type: str
    width: int
    height: int
    file_size: int
    sha256: str
    variants: tuple[VariantDownloaded, ...]
    media_changed_at: datetime | None
    downloaded_at: datetime
    changed: bool


class ImageRemoved(_OfImage):
    """The copy of a photo, or a superseded copy, was removed. `urls` are all public URLs that no longer work."""

    TYPE: ClassVar[str] = "image-removed.v1"

    reason: RemovalReason
    removed_at: datetime
    urls: tuple[str, ...]
