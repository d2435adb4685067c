"""Reads the status and headers of an origin's answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shared.domain.failures import Failure, Reason
from shared.domain.retry import parse_retry_after

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REASONS = {
    401: Reason.FORBIDDEN,
    403: Reason.FORBIDDEN,
    404: Reason.GONE,
    408: Reason.TIMEOUT,
    410: Reason.GONE,
    429: Reason.THROTTLED,
}
_MAY_THROTTLE = frozenset({429, 503})
_VALIDATOR = re.compile(r"[\x20-\x7e]{1,1000}")


@dataclass(frozen=True, slots=True)
class Validators:
    """The ETag and Last-Modified that the origin sent with our copy, for a conditional request."""

    etag: str | None
    last_modified: str | None

    def as_headers(self) -> dict[str, str]:
        """Return the headers of a conditional request; none if there is no validator that a header can hold."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value and _VALIDATOR.fullmatch(value)}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole body, in a file that now belongs to the caller; size in bytes, hash in hex."""

    path: Path
    file_size: int
    sha256: str
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The origin still has the version of our copy. The validators are for the next conditional request."""

    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Redirect:
    """The origin says that the photo is at `location`, a URL that is not checked yet."""

    location: str


Answer = Fetched | NotModified | Failure


def read(
    status: int, headers: Mapping[str, str], host: str, conditions: Mapping[str, str], now: datetime
) -> NotModified | Redirect | Failure:
    """Return what an answer without a photo means, by its status and headers.

    `host` is named in a failure's detail, `conditions` are the conditional headers that were sent, and `now` is what a
    date in `Retry-After` is compared with.
    """
    if status == 304 and conditions:
        etag, last_modified = validators(headers)
        return NotModified(
            etag or conditions.get("If-None-Match"), last_modified or conditions.get("If-Modified-Since")
        )
    if status in _REDIRECTS and "Location" in headers:
        return Redirect(headers["Location"])
    reason = _REASONS.get(status, Reason.ORIGIN_ERROR)
    wait = parse_retry_after(headers.get("Retry-After", ""), now) if status in _MAY_THROTTLE else None
    return Failure(reason, f"{host} answered {status}", wait)


def validators(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the ETag and Last-Modified of an answer; None for one that cannot be stored and sent back as it is."""
    etag, last_modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    return (
        etag if _VALIDATOR.fullmatch(etag) else None,
        last_modified if _VALIDATOR.fullmatch(last_modified) else None,
    )
