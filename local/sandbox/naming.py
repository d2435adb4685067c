"""Fills in the templates of vendors' records and image URLs with facts of the sandbox's listings and photos."""

import base64
import hashlib
import zlib
from collections.abc import Mapping
from datetime import datetime

from local.sandbox.market import SandboxListing, SandboxPhoto, Size

_OFF_MARKET = frozenset({"Expired", "Closed", "Withdrawn", "Canceled", "Delete", "Hold", "Incomplete"})
_TICKS_AT_1970 = 621_355_968_000_000_000
"""The ticks of 100 ns from the year 1 to 1970, as .NET counts them."""


def is_on_market(listing: SandboxListing) -> bool:
    """Return True unless the listing has a StandardStatus of RESO for listings off the market, such as Closed."""
    return listing.status not in _OFF_MARKET


def of_listing(listing: SandboxListing, key: str) -> dict[str, object]:
    """Return the facts of a listing that templates may use, by name.

    `key` is the template of the vendor's ListingKey; it may use all other facts. `number`, `digits` and `long_digits`
    are numbers of up to 6, of 9 and of 26 digits, different for each listing. `newest` is the listing's latest
    timestamp.
    """
    number = int(listing.key[-6:])
    is_on = is_on_market(listing)
    facts: dict[str, object] = {
        "null": None,
        "number": number,
        "digits": str(210_000_000 + number),
        "long_digits": f"20260101000000000000{number:06}",
        "listing_hex": hashlib.sha256(listing.key.encode()).hexdigest()[:24],
        "modified": listing.modified_at,
        "newest": max(listing.modified_at, listing.media_changed_at),
        "on_market": is_on,
        "contract_status": "Available" if is_on else "Unavailable",
        "mls_status": "New" if is_on else "Terminated",
    }
    facts["key"] = key.format(key=listing.key, **facts)
    facts["key_lower"] = str(facts["key"]).lower()
    return facts


def of_photo(
    listing: SandboxListing, photo: SandboxPhoto, order: int, size: Size, facts: Mapping[str, object]
) -> dict[str, object]:
    """Return the facts of a photo in one size that templates may use, by name. They include `facts`, its listing's.

    The argument `order` is the photo's position in its listing, from 0; the fact `place` counts from 1. The facts
    `hex`, `uuid` and `upload_digits` change with each new picture; `media_digits` and `object_id` never change.
    """
    width, height = photo.shot.size(photo.width_in(size))
    picture = f"{photo.object_id}/{photo.shot.version}".encode()
    digest = hashlib.sha256(picture).hexdigest()
    moment = datetime.fromisoformat(photo.modified_at)
    number = int(listing.key[-6:]) * 1000 + photo.shot.number
    return {
        **facts,
        "order": order,
        "place": order + 1,
        "place_crc": f"{zlib.crc32(str(order + 1).encode()):08x}",
        "is_first": order == 0,
        "caption": photo.caption,
        "photo_modified": photo.modified_at,
        "object_id": photo.object_id,
        "suffix": size.suffix,
        "hex": digest[:24],
        "uuid": f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}",
        "media_number": 400_000_000 + number,
        "media_digits": str(400_000_000 + number),
        "upload_digits": f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03}{number:09}",
        "ticks": _TICKS_AT_1970 + int(moment.timestamp() * 1000) * 10_000,
        "source": base64.urlsafe_b64encode(photo.object_id.encode()).decode().rstrip("="),
        "width": width,
        "height": height,
    }


def filled(fields: Mapping[str, object], facts: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a record, which are templates, with facts filled in. `facts` has the facts by name.

    The value `"$order"` is replaced by the fact `order`, which keeps its type. In other texts, `{order}` is replaced by
    the fact as text. Values that are not texts are returned as they are.
    """
    return {name: _filled(value, facts) for name, value in fields.items()}


def _filled(value: object, facts: Mapping[str, object]) -> object:
    if not isinstance(value, str):
        return value
    return facts[value[1:]] if value.startswith("$") else value.format_map(facts)
