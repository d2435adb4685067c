"""What do the words in a row of `Media` mean? Categories, statuses and types, as MLSs and RESO have them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from shared.domain.feed import Feed
from shared.domain.image import Category
from shared.domain.words import plain, plain_set, text

_FIELDS = ("MediaStatus", "MediaCategory", "MediaType", "MimeType")
_MAX_CACHED_LENGTH = 60
_FLOOR_PLANS = frozenset({"floorplan", "floorplans"})
_OTHER_CATEGORIES = _FLOOR_PLANS | {
    *("agentphoto", "officephoto", "memberphoto", "officelogo", "logo"),
    *("document", "documents", "video", "videos", "virtualtour", "brandedvirtualtour", "unbrandedvirtualtour"),
}
"""Categories that are no photos of a listing: RESO's Data Dictionary 2.0, and those of DDF that are no links."""
_LINK = "website"
"""DDF's categories of links end so: "Video Tour Website", "Map Website"."""
_SHOWN_STATUSES = frozenset({"active", "complete", "completed", "valid", "available", "approved"})
_PENDING_STATUSES = frozenset({"processing", "incomplete", "pending", "inprogress", "uploading", "queued"})
_WITHDRAWN_STATUSES = frozenset(
    {"deleted", "delete", "rejected", "removed", "inactive", "withdrawn", "expired", "archived", "hidden"}
)
_OTHER_TYPES = frozenset(
    {
        *("doc", "docx", "pdf", "rtf", "txt", "xls", "xlsx", "htm", "html", "url", "link"),
        *("mov", "mp3", "mp4", "mpeg", "mpg", "avi", "wmv", "webm", "quicktime", "video", "virtualtour", "document"),
    }
)
_OTHER_MAIN_TYPES = frozenset({"application", "audio", "text", "video"})
_BYTES = "application/octet-stream"


class UnknownWord(NamedTuple):
    """A value in a field of a property record that no rule knows; operators are told of it."""

    field: str
    word: str


class Objection(NamedTuple):
    """Why a `Media` row is not to be fetched."""

    reason: str
    """The reason as a phrase for operators."""
    retains: bool = False
    """True if what is recorded of the photo stays; False if the photo is withdrawn."""
    unknown: UnknownWord | None = None
    """The word that made the objection, if no rule knows it."""


class Meaning(NamedTuple):
    """What the words of a `Media` row mean: why the row is not to be fetched (None if it may be), and what it shows."""

    objection: Objection | None
    category: Category


def meaning(feed: Feed, raw: Mapping[str, object]) -> Meaning:
    """Return what the words of a `Media` row mean, by the feed's rules.

    If several words object to the row, one that says that the row shows no photo, or a deleted one, has precedence over
    one that is unknown or says that the photo is not ready.
    """
    words = [raw.get(name) for name in _FIELDS]
    for word in words:
        if word is not None and (not isinstance(word, str) or len(word) > _MAX_CACHED_LENGTH):
            return _meaning(feed.photo_categories, *map(text, words))
    return _cached_meaning(feed.photo_categories, *words)


def _meaning(categories: tuple[str, ...], *words: str | None) -> Meaning:
    status, category, kind, mime = map(text, words)
    pending: Objection | None = None
    shows = Category.FLOOR_PLAN if category and plain(category) in _FLOOR_PLANS else Category.PHOTO
    for found in (_status(status), _category(categories, category), _type("MediaType", kind), _type("MimeType", mime)):
        if found is not None and not found.retains:
            return Meaning(found, shows)
        pending = pending or found
    return Meaning(pending, shows)


_cached_meaning = lru_cache(maxsize=1_000)(_meaning)  # the rows of a market repeat the same few words


def _status(status: str | None) -> Objection | None:
    if status is None or plain(status) in _SHOWN_STATUSES:
        return None
    if plain(status) in _WITHDRAWN_STATUSES:
        return Objection(f"MediaStatus is {status}")
    is_known = plain(status) in _PENDING_STATUSES
    unknown = None if is_known else UnknownWord("MediaStatus", status)
    return Objection(f"MediaStatus is {status}", retains=True, unknown=unknown)


def _category(categories: tuple[str, ...], category: str | None) -> Objection | None:
    if category is None or plain(category) in plain_set(categories):
        return None
    reason = f"MediaCategory is {category}"
    if plain(category) in _OTHER_CATEGORIES or plain(category).endswith(_LINK):
        return Objection(reason)
    return Objection(reason, retains=True, unknown=UnknownWord("MediaCategory", category))


def _type(name: str, kind: str | None) -> Objection | None:
    if kind is None:
        return None
    main, _, sub = plain(kind).partition("/")
    is_other = main in _OTHER_MAIN_TYPES and plain(kind) != _BYTES if sub else main in _OTHER_TYPES
    return Objection(f"{name} is {kind}") if is_other else None
