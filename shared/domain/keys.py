"""Under which key is an object stored? Keys need no URL-escaping and never collide; a key's bytes never change."""

import hashlib
import re

_ESCAPED = re.compile(rb"[^A-Za-z0-9._-]")
_ESCAPE = re.compile(rb"~([0-9A-F]{2})")
_KEY = re.compile(r"([^/]+)/([^/]+)/[^/]+/[0-9a-f]{16}/[^/]+")
_MAX_PART_BYTES = 200
_CUT_PART_BYTES = 180


def part(text: str) -> str:
    """Return the text as one part of an object's key, that is, as the characters between two slashes.

    Each byte outside `[A-Za-z0-9._-]` is written `~XX`; if the text consists of dots only, each dot is written so too.
    A part over 200 bytes is cut to 180 bytes, and `~` and a hash of the whole text are appended.
    """
    raw = text.encode()
    escaped = _ESCAPED.sub(_tilde, raw).decode()
    if escaped and not escaped.strip("."):
        escaped = escaped.replace(".", "~2E")
    if len(escaped) <= _MAX_PART_BYTES:
        return escaped
    return f"{escaped[:_CUT_PART_BYTES]}~{hashlib.sha256(raw).hexdigest()[:16]}"


def listing_prefix(feed: str, listing_key: str) -> str:
    """Return the beginning of the keys of all stored objects of a listing, up to and including a slash.

    It is the same in both buckets.
    """
    return f"{part(feed)}/{part(listing_key)}/"


def listing_id_of(key: str) -> tuple[str, str] | None:
    """Return the feed and the ListingKey of the listing that an object belongs to, read from the object's key.

    Return None if the key is not of our form, or if its feed or its ListingKey was cut and replaced by a hash.
    """
    match = _KEY.fullmatch(key)
    if match is None or any(len(escaped) > _CUT_PART_BYTES for escaped in match.groups()):
        return None
    try:
        feed, listing_key = (_ESCAPE.sub(_byte, escaped.encode()).decode() for escaped in match.groups())
    except UnicodeDecodeError:
        return None
    return (feed, listing_key) if key.startswith(listing_prefix(feed, listing_key)) else None


def photo_prefix(feed: str, listing_key: str, object_id: str) -> str:
    """Return the beginning of the keys of all stored objects of a photo, of all its versions.

    It is the same in both buckets.
    """
    return f"{listing_prefix(feed, listing_key)}{part(object_id)}/"


def folder(feed: str, listing_key: str, object_id: str, sha256: str) -> str:
    """Return the beginning of the keys of one version of a photo: of its original and its variants.

    It is the same in both buckets. `sha256` is the hash of the original's bytes, in hex; its first 16 digits tell the
    version.
    """
    return f"{photo_prefix(feed, listing_key, object_id)}{sha256[:16]}/"


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)])


def _tilde(match: re.Match[bytes]) -> bytes:
    return b"~%02X" % match[0][0]
