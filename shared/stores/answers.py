"""Reads displayed listings for frontends: the stored JSON fragments of their photos, or the photos' records."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from shared.domain.image import Photo


@dataclass(frozen=True, slots=True)
class Answer:
    """What frontends get for one displayed listing, as stored: the JSON fragments of its photos.

    `feed` and `listing_key` name the listing. `rendered` has the fragments in the order of the photos, possibly only
    the first ones. `missing` has, by image id, the places of all photos of the listing that want an attempt and whose
    newest version is not downloaded; the listing's first photo has the place 0.
    """

    feed: str
    listing_key: str
    rendered: Sequence[str]
    missing: Mapping[str, int]
    """By image id: the places, from 0, of all photos that want an attempt to get their newest version."""
    photo_count: int
    """How many photos the listing has, also those without a fragment in `rendered`."""

    @classmethod
    def from_document(cls, listing: Mapping[str, Any], photos: int | None) -> "Answer":
        """Return the answer about a listing, read from its MongoDB document `listing`.

        The answer has the fragments of the first `photos` photos, or of all photos if `photos` is None.
        """
        return cls(
            listing["feed"],
            listing["listing_key"],
            [rendered["json"] for rendered in listing["rendered"][:photos]],
            listing["missing"],
            sum(listing["counts"].values()),
        )


@dataclass(frozen=True, slots=True)
class ShownPhoto:
    """The record of one photo of a displayed listing, and when its next attempt is due.

    `feed` and `listing_key` name the listing. `due_at` is None if the photo wants no attempt.
    """

    feed: str
    listing_key: str
    photo: Photo
    due_at: datetime | None
    """When the photo's next attempt is due; None if the photo wants no attempt."""


class PhotoAnswer(NamedTuple):
    """What frontends get for one photo of a displayed listing: its JSON fragment, as stored.

    `feed` and `listing_key` name the listing. `url_keys` are the keys, made by `image.url_key`, of the URLs under which
    the photo was announced. `json` is the fragment. `is_missing` is True if the photo wants an attempt, because its
    newest version is not downloaded.
    """

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
        """Return the answer of one photo, read from the MongoDB document `listing` of its listing.

        `rendered` is the photo's element of the list `rendered` in that document.
        """
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
    """Reads from the store what frontends get: displayed listings and their photos, of all feeds.

    Each method takes one round trip to the store, and raises StoreUnavailable if the database does not answer.
    """

    async def showing(self, image_ids: Collection[str], url_keys: Collection[str]) -> Sequence[ShownPhoto]:
        """Return the photos of displayed listings whose id is in `image_ids`, or that have a URL key in `url_keys`.

        The photos are in no particular order. A photo that is not found is absent. A photo may be returned twice if
        both its id and one of its URL keys are given. Raises StoreUnavailable.
        """

    async def photo_answers(self, url_keys: Collection[str], *, every: bool) -> Sequence[PhotoAnswer]:
        """Return the answers of the photos of displayed listings that have a URL key in `url_keys`.

        If `every` is True, all these photos of each listing are returned. If it is False, which is faster, at least the
        first of these photos of each listing is returned, and the others may be absent. Raises StoreUnavailable.
        """

    async def answers(self, listing_keys: Collection[str], photos: int | None) -> Sequence[Answer]:
        """Return the answers of the displayed listings that have a ListingKey in `listing_keys`, in any feed.

        Each answer has the fragments of the listing's first `photos` photos, or of all its photos if `photos` is None.
        A ListingKey of no displayed listing has no answer. Raises StoreUnavailable.
        """
