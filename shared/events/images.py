"""The events about images; docs/events.md explains their fields."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.image import Photo
from shared.domain.listing import Listing, RemovalReason
from shared.domain.priority import Priority


class OutdatedReason(StrEnum):
    """Why a photo needs an attempt, as `image-outdated` says.

    MISSING: there is no copy yet. CHANGED: the MLS announced a newer version. RETRY: the last attempt failed. FORCED:
    the copy of the newest version is to be requested again or rebuilt.
    """

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
        """The CloudEvent's subject, and the key of its Kafka record: the ListingKey."""
        return self.listing_key


class ImageOutdated(_OfImage):
    """The event `image-outdated`, which asks the downloaders for an attempt of one photo, with reason and priority.

    The photo has no copy of its newest version, or its copy is to be requested again or rebuilt: for a recheck, or
    because an operator forced it.
    """

    TYPE: ClassVar[str] = "image-outdated.v1"

    reason: OutdatedReason = OutdatedReason.MISSING
    priority: Priority = Priority.ROUTINE

    @classmethod
    def of(cls, listing: Listing, photo: Photo) -> "ImageOutdated":
        """Return the event that asks for an attempt of `photo`, a photo of `listing`, with the photo's priority.

        The reason is RETRY if the photo has a failure, else MISSING if it has no copy, else CHANGED if its copy is
        outdated, else FORCED.
        """
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
    """One variant of a copy, as `image-downloaded` lists it.

    `name` is the variant's name in the settings, `url` its public URL; width and height are in pixels, `file_size` is
    in bytes. `content_type` is None in events of older releases.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    url: str
    content_type: str | None = None
    width: int
    height: int
    file_size: int


class ImageDownloaded(_OfImage):
    """The event that says that a copy of one photo was stored and recorded.

    `order` is the photo's place in the listing, from 0. `url`, `content_type`, `width`, `height` (pixels) and
    `file_size` (bytes) are those of the variant `full`; `sha256` is of the original. `changed` is False if the original
    has the same bytes as the previous one.
    """

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
    """The event that says that the copy of one photo, or a superseded copy of it, was removed.

    `urls` are all public URLs that no longer work.
    """

    TYPE: ClassVar[str] = "image-removed.v1"

    reason: RemovalReason
    removed_at: datetime
    urls: tuple[str, ...]
