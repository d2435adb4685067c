"""What goes in and out over HTTP: request bodies that are checked, and the shapes that the API's description has."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.image import Status
from shared.domain.priority import Priority

MOST_LISTINGS = 200
MOST_PHOTOS = 500


class Context(StrEnum):
    """Why it is asked: it sets the priority of photos that are missing."""

    VIEW = "view"
    SEARCH = "search"

    @property
    def priority(self) -> Priority:
        """The priority that missing photos are raised to."""
        return Priority.VIEWED if self is Context.VIEW else Priority.SEARCHED


class ResolveRequest(BaseModel):
    """One page of search results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listing_keys: Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(min_length=1)]
    feed: str | None = None
    photos_per_listing: int = Field(default=1, ge=1, le=MOST_PHOTOS)
    context: Context = Context.SEARCH


class Variant(BaseModel):
    """One rendering; sides in pixels, size in bytes."""

    name: str
    url: str
    width: int
    height: int
    file_size: int


class Image(BaseModel):
    """One photo. Without a copy `url` is the relative address of `serve`, `variants` is empty, sizes are null."""

    id: str
    order: int
    status: Status
    url: str
    srcset: str
    width: int | None
    height: int | None
    content_type: str | None
    file_size: int | None
    variants: list[Variant]
    alt: str
    thumbhash: str | None = Field(description="base64 of a ThumbHash")
    downloaded_at: datetime | None
    media_changed_at: datetime | None


class ListingImages(BaseModel):
    """A listing's photos in order."""

    feed: str
    listing_key: str
    images: list[Image]


class ResolveAnswer(BaseModel):
    """The photos of one page of search results, by listing key."""

    listings: dict[str, ListingImages]
    unknown: list[str] = Field(description="keys that no displayed listing has")
    ambiguous: list[str] = Field(description="keys that are displayed in several feeds; ask again with `feed`")


class Problem(BaseModel):
    """An error, by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
