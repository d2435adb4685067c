"""What frontends get of displayed listings: fragments that are ready to send, and the photos themselves."""

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
    """One photo of a displayed listing."""

    feed: str
    listing_key: str
    photo: Photo
    due_at: datetime | None
    """When its next attempt is due; None if it wants none."""


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
        """Return the answer from a listing's document and the photo's element of its `rendered`."""
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
        """Return the photos of displayed listings with one of the ids, or announced under a URL with one of the keys.

        A photo that both find may be returned twice.
        """

    async def photo_answers(self, url_keys: Collection[str], *, every: bool) -> Sequence[PhotoAnswer]:
        """Return the answers of photos of displayed listings that were announced under a URL with one of the keys.

        With `every`, all such photos of a listing; without, only the first one, which is faster.
        """

    async def answers(self, listing_keys: Collection[str], photos: int | None) -> Sequence[Answer]:
        """Return the answers of the displayed listings with these ListingKeys, in every feed.

        Each has the fragments of at most `photos` photos, of all if that is None.
        """
