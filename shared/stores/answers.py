"""What is answered of displayed listings: ready fragments, and the photos themselves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from shared.domain.image import Photo


@dataclass(frozen=True, slots=True)
class Answer:
    """What a frontend gets of a listing: one ready JSON fragment a photo, in order."""

    feed: str
    listing_key: str
    rendered: Sequence[str]
    missing: Mapping[str, int]
    """Which photos want an attempt, for there is no copy of the newest version: their places by id."""


@dataclass(frozen=True, slots=True)
class ShownPhoto:
    """One photo of a displayed listing."""

    feed: str
    listing_key: str
    photo: Photo
    due_at: datetime | None
    """When its next attempt is due."""


class PhotoAnswer(NamedTuple):
    """What a frontend gets of one photo of a displayed listing: its ready JSON fragment."""

    feed: str
    listing_key: str
    image_id: str
    url_keys: Sequence[str]
    json: str
    has_copy: bool
    is_missing: bool
    """Whether it wants an attempt, for there is no copy of the newest version."""

    @classmethod
    def read(cls, listing: Mapping[str, Any], photo: Mapping[str, Any]) -> "PhotoAnswer":
        """Read it from a listing's document, and what stands there of the photo."""
        return cls(
            listing["feed"],
            listing["listing_key"],
            photo["id"],
            photo["url_keys"],
            photo["json"],
            photo["has_copy"],
            photo["id"] in listing["missing"],
        )


class Answers(Protocol):
    """The collection of listings, as it is read for those who look at them."""

    async def showing(self, image_ids: Collection[str], url_keys: Collection[str]) -> Sequence[ShownPhoto]:
        """Return the photos of displayed listings that have one of the ids, or were announced under one of the URLs."""

    async def photo_answers(self, url_keys: Collection[str], *, every: bool) -> Sequence[PhotoAnswer]:
        """Return the answers of displayed listings' photos that were announced under one of the URLs.

        In one round trip; of a listing every such photo or, sooner, only the first.
        """

    async def answers(self, listing_keys: Collection[str], photos: int | None) -> Sequence[Answer]:
        """Return the displayed listings' answers in every feed, with at most so many photos each, in one round trip."""
