"""Times and URLs as the desk's pages show them. Pure."""

import re
from datetime import datetime
from urllib.parse import urlsplit

from ops.words import distance_text

_URL = re.compile(r"(https?):[\\/]+([^\\/\s\"'<>?#]*)[^\s\"'<>]*", re.IGNORECASE)


def distance(time: datetime | None, now: datetime) -> str:
    """Return how far a time is from `now`, such as `in 2 h` or `5 min ago`; `at no known time` for None. Pure."""
    return "at no known time" if time is None else distance_text(time, now)


def timestamp(time: datetime) -> str:
    """Return a time of UTC in full, such as 2026-11-23T09:00:00Z. Pure."""
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def host_of(url: str) -> str:
    """Return the host of an MLS's URL, the only part of it that pages may show; "" if it has none. Pure."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def redacted(text: str) -> str:
    """Return `text` with every URL in it cut to its scheme and host, because no page shows an MLS's URL. Pure."""
    return _URL.sub(lambda match: f"{match[1]}://{match[2].rpartition('@')[2]}/…", text)
