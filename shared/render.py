"""Renders photos to JSON fragments. This is done when a listing is written, so that an answer only joins fragments."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

import orjson

from shared.domain.image import Copy, Photo, Variant
from shared.domain.listing import Listing

RULES = 5
"""The version of the rules in this module. Raise it whenever a fragment, or a field stored beside it, would differ.

Fragments of another version are rendered anew when they are read.
"""


class Renderer:
    """Renders photos to JSON fragments; answers to frontends are joined from these fragments.

    URLs in the fragments begin with `public_root`, which has no slash at its end. `version` is a hash of RULES and
    `public_root`. It is stored with fragments, so that fragments of another version are recognized as outdated.
    """

    def __init__(self, public_root: str) -> None:
        self._public_root = public_root
        self.version = hashlib.sha256(f"{RULES}|{public_root}".encode()).hexdigest()[:8]
        """A hash of the rules' version and the public root, stored with fragments."""

    def url(self, key: str) -> str:
        """Return the public URL of the object `key` in the public bucket."""
        return f"{self._public_root}/{key}"

    def fragments(self, listing: Listing) -> list[str]:
        """Return the JSON fragments of a listing's photos, in their order; empty if the listing is not displayed."""
        return [self.fragment(photo) for photo in listing.photos] if listing.is_displayed else []

    def fragment(self, photo: Photo) -> str:
        """Return the JSON fragment of one photo: an object by the schema `Image` of the resolver's OpenAPI description.

        If the photo has no copy, the fragment's URL is the resolver's path `serve` for the photo, and the sizes are
        null.
        """
        return orjson.dumps(
            {
                "id": photo.id,
                "order": photo.order,
                "status": photo.status,
                "category": photo.category,
                **(self._copy_fields(photo.copy) if photo.copy else _fields_without_copy(photo)),
                "alt": " ".join(photo.caption.split()) or f"Photo {photo.order + 1}",
                "media_changed_at": _utc(photo.announced_at),
            },
            option=orjson.OPT_UTC_Z,
        ).decode()

    def _copy_fields(self, copy: Copy) -> dict[str, object]:
        full = copy.full
        return {
            "url": self.url(full.key),
            "srcset": ", ".join(f"{self.url(variant.key)} {variant.width}w" for variant in _srcset_variants(copy)),
            "width": full.width,
            "height": full.height,
            "content_type": full.content_type,
            "file_size": full.file_size,
            "variants": [
                {
                    "name": variant.name,
                    "url": self.url(variant.key),
                    "content_type": variant.content_type,
                    "width": variant.width,
                    "height": variant.height,
                    "file_size": variant.file_size,
                }
                for variant in copy.variants
            ],
            "thumbhash": copy.thumbhash,
            "downloaded_at": _utc(copy.downloaded_at),
        }


def _srcset_variants(copy: Copy) -> Iterable[Variant]:
    """Return one variant of a copy for each width, the narrowest first, since HTML allows each width once in a srcset.

    All are uncropped and in the format of the variant named `full`, so that a browser may show any of them in place of
    `full`. A small photo has several variants of the same width; of these, `full` is chosen, or else the first.
    """
    full = copy.full
    alike = [found for found in copy.variants if not found.is_cropped and found.content_type == full.content_type]
    by_width = {variant.width: variant for variant in (*reversed(alike), full)}
    return (variant for _, variant in sorted(by_width.items()))


def _fields_without_copy(photo: Photo) -> dict[str, object]:
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
