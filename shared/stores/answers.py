"""Reads displayed listings for frontends: the stored JSON fragments of their photos, or the photos' records."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from shared.domain.image import Photo


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one listing: the JSON fragments of its photos, in order."""

    feed: str
    listing_key: str
    rendered: Sequence[str]
    missing: Mapping[str, int]
    """By image id: the places, counted from 0, of all photos of the listing that want an attempt."""


@dataclass(frozen=True, slots=True)
class ShownPhoto:
    """The record of one photo of a displayed listing, and when its next attempt is due."""

    feed: str
    listing_key: str
    photo: Photo
    due_at: datetime | None
    """When the photo's next attempt is due; None if the photo wants no attempt."""


class PhotoAnswer(NamedTuple):
    """The answer of one photo of a displayed listing: its JSON fragment."""

    feed: str
    listing_key: str
    image_id: str
    url_keys: Sequence[str]
    json: str
    has_copy: bool
    is_missing: bool
    """True if the photo wants an attempt, because its newest version is not downloaded."""

    @classmethod
    def from_documents(cls, listing: Mapping[str, Any], rendered: Mapping[str, Any]) -> "PhotoAnswer":
        """Return a photo's answer. `rendered` is the photo's element of `rendered` in the document `listing`."""
        return cls(
            listing["feed"],
            listing["listing_key"],
            rendered["id"],
            rendered["url_keys"],
            rendered["json"],
            rendered["has_copy"],
            rendered["id"] in listing["missing"],
        )


class Answers(Protocol):
    """Reads displayed listings for frontends. Each method takes one round trip, and raises StoreUnavailable."""

    async def showing(self, image_ids: Collection[str], url_keys: Collection[str]) -> Sequence[ShownPhoto]:
        """Return the photos of displayed listings that have an id in `image_ids` or a URL key in `url_keys`.

        A photo may be returned twice if both its id and a URL key of it are given.
        """

    async def photo_answers(self, url_keys: Collection[str], *, every: bool) -> Sequence[PhotoAnswer]:
        """Return the answers of the photos of displayed listings that have a URL key in `url_keys`.

        With `every`, all these photos of each listing are returned. Without, which is faster, the first of each listing
        is, and the others may be missing.
        """

    async def answers(self, listing_keys: Collection[str], photos: int | None) -> Sequence[Answer]:
        """Return the answers of the displayed listings that have these ListingKeys in any feed.

        Each answer has the fragments of the listing's first `photos` photos, or of all photos if `photos` is None.
        """
