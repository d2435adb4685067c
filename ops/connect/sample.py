"""Finds out from a few property records which timestamps, statuses and Media rows an MLS has. No I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ops.connect.findings import NO, NOT_ASKED, YES, Findings
from shared.domain.words import readable

Record = Mapping[str, Any]
_OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
_PHOTO_WORDS = re.compile(r"photo|image|picture|aerial", re.IGNORECASE)
_NO_PHOTO_WORDS = re.compile(r"website|tour|video|logo|agent|member|office|document|url", re.IGNORECASE)
_MAX_LISTED = 40


def read(records: Sequence[Record], plain: Sequence[Record], findings: Findings) -> dict[str, Any]:
    """Return the facts that property records show, by the names of the fields of Findings.

    The facts about photos are read from `records`, which have their Media rows. The facts about timestamps and statuses
    are read from `plain`, which may lack Media rows. `findings` says whether the API gives Media rows with records.
    """
    rows = [row for record in records for row in rows_of(record)]
    stamps = {name: value for record in plain for name, value in record.items() if name.endswith("Timestamp")}
    categories = _texts(row.get("MediaCategory") for row in rows)
    return {
        "timestamps": tuple(sorted(stamps)),
        "local_times": tuple(sorted(name for name, value in stamps.items() if _is_local(value))),
        "statuses": _texts(record.get("StandardStatus") for record in plain),
        "media_statuses": _texts(row.get("MediaStatus") for row in rows),
        "categories": categories,
        "picture_categories": tuple(name for name in categories if is_picture(name)),
        "sizes": _texts(row.get("ImageSizeDescription") for row in rows),
        "permissions": _texts(item for row in rows for item in _items(row.get("Permission"))),
        "image_hosts": tuple(sorted({host for row in rows if (host := host_of(row)) and is_photo(row)})),
        "row_keys": _row_keys(rows),
        "expand_complete": _completeness(records) if findings.expand != NO else NOT_ASKED,
    }


def rows_of(record: Record) -> list[Record]:
    """Return the Media rows of a property record; empty if it has none."""
    media = record.get("Media")
    rows = media if isinstance(media, list) else [media]
    return [row for row in rows if isinstance(row, Mapping)]


def is_photo(row: Record) -> bool:
    """Return True if a Media row looks like a photo by its MediaCategory. A row without one counts as a photo."""
    category = row.get("MediaCategory")
    return not isinstance(category, str) or is_picture(category)


def is_picture(category: str) -> bool:
    """Return True if a MediaCategory is one of photos of the property. Spark's encoded names are decoded first."""
    text = readable(category)
    return bool(_PHOTO_WORDS.search(text)) and not _NO_PHOTO_WORDS.search(text)


def host_of(row: Record) -> str:
    """Return the host in a row's MediaURL, with the port if the URL names one; "" if the row has no http(s) URL."""
    return host_in(str(row.get("MediaURL") or ""))


def host_in(url: str) -> str:
    """Return the host of a URL, with its port if it names one; "" if it is no http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    return parts.hostname if port is None else f"{parts.hostname}:{port}"


def has_changed_urls(before: Iterable[Record], after: Iterable[Record]) -> str:
    """Return YES if a Media row has another MediaURL in a later answer, else NO; NOT_ASKED if no row is in both.

    `before` and `after` are the Media rows of the two answers.
    """
    old = {_identity(row): row.get("MediaURL") for row in before}
    new = {_identity(row): row.get("MediaURL") for row in after}
    both = old.keys() & new.keys()
    if not both:
        return NOT_ASKED
    return YES if any(old[name] != new[name] for name in both) else NO


def _identity(row: Record) -> str:
    return f"{row.get('MediaKey')} {row.get('Order')} {row.get('ResourceRecordKey')}"


def _completeness(records: Sequence[Record]) -> str:
    counted = [record for record in records if str(record.get("PhotosCount", "")).isdecimal()]
    if not counted:
        return NOT_ASKED
    photos = [
        (len([row for row in rows_of(record) if is_photo(row)]), int(record["PhotosCount"])) for record in counted
    ]
    return YES if all(found >= count for found, count in photos) else NO


def _row_keys(rows: Sequence[Record]) -> str:
    if not rows:
        return NOT_ASKED
    for name in ("MediaObjectID", "MediaKey"):
        if all(row.get(name) for row in rows if is_photo(row)):
            return name
    return "place and URL"


def _is_local(value: object) -> bool:
    return isinstance(value, str) and "T" in value and not _OFFSET.search(value)


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value if isinstance(value, list) else []


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if isinstance(value, str) and value}))[:_MAX_LISTED]
