"""What do the words in a row of `Media` mean? Categories, statuses and types, as MLSs and RESO have them."""

from collections.abc import Mapping
from typing import NamedTuple

from shared.domain.feed import Feed
from shared.domain.words import plain, plain_set, text

FLOOR_PLANS = frozenset({"floorplan", "floorplans"})
_OTHER_CATEGORIES = FLOOR_PLANS | {
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
    """A value of a field of the MLS that no rule knows, to be named to operators."""

    field: str
    word: str


class Objection(NamedTuple):
    """Why a row is not to be fetched."""

    reason: str
    """The reason as a phrase for operators."""
    is_held: bool = False
    """True if what is held of the photo stays; False if the photo is withdrawn."""
    unknown: UnknownWord | None = None
    """The word that made the objection, if no rule knows it."""


def objection(feed: Feed, raw: Mapping[str, object]) -> Objection | None:
    """Return why the words of a `Media` row forbid its use; None if they allow it.

    A word that says that the row is no photo comes before a word that says that the photo is not ready, or that is
    unknown.
    """
    held: Objection | None = None
    for found in (
        _status(text(raw.get("MediaStatus"))),
        _category(feed, text(raw.get("MediaCategory"))),
        _type("MediaType", text(raw.get("MediaType"))),
        _type("MimeType", text(raw.get("MimeType"))),
    ):
        if found is not None and not found.is_held:
            return found
        held = held or found
    return held


def _status(status: str | None) -> Objection | None:
    if status is None or plain(status) in _SHOWN_STATUSES:
        return None
    if plain(status) in _WITHDRAWN_STATUSES:
        return Objection(f"MediaStatus is {status}")
    is_known = plain(status) in _PENDING_STATUSES
    unknown = None if is_known else UnknownWord("MediaStatus", status)
    return Objection(f"MediaStatus is {status}", is_held=True, unknown=unknown)


def _category(feed: Feed, category: str | None) -> Objection | None:
    if category is None or plain(category) in plain_set(feed.photo_categories):
        return None
    reason = f"MediaCategory is {category}"
    if plain(category) in _OTHER_CATEGORIES or plain(category).endswith(_LINK):
        return Objection(reason)
    return Objection(reason, is_held=True, unknown=UnknownWord("MediaCategory", category))


def _type(name: str, kind: str | None) -> Objection | None:
    if kind is None:
        return None
    main, _, sub = plain(kind).partition("/")
    is_other = main in _OTHER_MAIN_TYPES and plain(kind) != _BYTES if sub else main in _OTHER_TYPES
    return Objection(f"{name} is {kind}") if is_other else None
