"""How does a photo look in an answer? Written once, when its listing is written; reading joins ready fragments."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

import orjson

from shared.domain.image import Copy, Photo, Variant
from shared.domain.listing import Listing

RULES = 3
"""Raise it whenever a fragment, or what is recorded beside it, would look different.

Older fragments are then rendered anew when read.
"""


class Renderer:
    """Turns a listing's photos into JSON fragments; `version` tells fragments of other rules or settings apart."""

    def __init__(self, public_root: str) -> None:
        self._public_root = public_root
        self.version = hashlib.sha256(f"{RULES}|{public_root}".encode()).hexdigest()[:8]

    def url(self, key: str) -> str:
        """Return the public URL of an object."""
        return f"{self._public_root}/{key}"

    def fragments(self, listing: Listing) -> list[str]:
        """Return one JSON object a photo, in order; none for a listing that is not displayed."""
        return [self.fragment(photo) for photo in listing.photos] if listing.is_displayed else []

    def fragment(self, photo: Photo) -> str:
        """Return the contract's `Image` as JSON."""
        return orjson.dumps(
            {
                "id": photo.id,
                "order": photo.order,
                "status": photo.status,
                **(self._held(photo.copy) if photo.copy else _nothing_held(photo)),
                "alt": " ".join(photo.caption.split()) or f"Photo {photo.order + 1}",
                "media_changed_at": _utc(photo.announced_at),
            },
            option=orjson.OPT_UTC_Z,
        ).decode()

    def _held(self, copy: Copy) -> dict[str, object]:
        full = copy.full
        return {
            "url": self.url(full.key),
            "srcset": ", ".join(f"{self.url(one.key)} {one.width}w" for one in _one_a_width(copy)),
            "width": full.width,
            "height": full.height,
            "content_type": full.content_type,
            "file_size": full.file_size,
            "variants": [
                {
                    "name": one.name,
                    "url": self.url(one.key),
                    "width": one.width,
                    "height": one.height,
                    "file_size": one.file_size,
                }
                for one in copy.variants
            ],
            "thumbhash": copy.thumbhash,
            "downloaded_at": _utc(copy.downloaded_at),
        }


def _one_a_width(copy: Copy) -> Iterable[Variant]:
    """Return what browsers choose from, narrowest first: HTML allows a width once, and small photos have one width."""
    by_width = {variant.width: variant for variant in (*reversed(copy.variants), copy.full)}
    return (variant for _, variant in sorted(by_width.items()))


def _nothing_held(photo: Photo) -> dict[str, object]:
    return {
        "url": f"/api/images/serve?id={photo.id}",
        "srcset": "",
        "width": None,
        "height": None,
        "content_type": None,
        "file_size": None,
        "variants": [],
        "thumbhash": None,
        "downloaded_at": None,
    }


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
