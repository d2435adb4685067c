"""Under which object key is a copy stored? Keys never need URL-escaping, never collide and never change their bytes."""

import hashlib
import re

_ESCAPED = re.compile(rb"[^A-Za-z0-9._-]")
_ESCAPE = re.compile(rb"~([0-9A-F]{2})")
_OURS = re.compile(r"([^/]+)/([^/]+)/[^/]+/[0-9a-f]{16}/[^/]+")
_LONGEST = 200
_KEPT = 180


def part(text: str) -> str:
    """Write one part of a key: `~XX` for unusual bytes, and a hash in place of the end of one over 200 bytes."""
    raw = text.encode()
    escaped = _ESCAPED.sub(_tilde, raw).decode()
    if escaped and not escaped.strip("."):
        escaped = escaped.replace(".", "~2E")
    if len(escaped) <= _LONGEST:
        return escaped
    return f"{escaped[:_KEPT]}~{hashlib.sha256(raw).hexdigest()[:16]}"


def listing_prefix(feed: str, listing_key: str) -> str:
    """Where all objects of a listing live, in both buckets."""
    return f"{part(feed)}/{part(listing_key)}/"


def listing_of(key: str) -> tuple[str, str] | None:
    """Return the feed and the ListingKey that an object belongs to; None where it does not tell, or is not ours."""
    found = _OURS.fullmatch(key)
    if found is None or any(len(one) > _KEPT for one in found.groups()):
        return None  # what was cut cannot be told from its hash
    try:
        feed, listing_key = (_ESCAPE.sub(_byte, one.encode()).decode() for one in found.groups())
    except UnicodeDecodeError:
        return None
    return (feed, listing_key) if key.startswith(listing_prefix(feed, listing_key)) else None


def photo_prefix(feed: str, listing_key: str, photo: str) -> str:
    """Where all versions of one photo live, in both buckets."""
    return f"{listing_prefix(feed, listing_key)}{part(photo)}/"


def folder(feed: str, listing_key: str, photo: str, sha256: str) -> str:
    """Where one version of one photo lives; the original and its variants share it."""
    return f"{photo_prefix(feed, listing_key, photo)}{sha256[:16]}/"


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])


def _tilde(found: re.Match[bytes]) -> bytes:
    return b"~%02X" % found[0][0]
