"""Reads the status and headers of an origin's answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from shared.domain.failures import REFUSED, Failure, Reason
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
    """The ETag and Last-Modified headers that the origin sent with a copy, for conditional requests.

    Each is None if the origin sent none that can be stored.
    """

    etag: str | None
    last_modified: str | None

    def as_headers(self) -> dict[str, str]:
        """Return the validators as the headers of a conditional request: If-None-Match and If-Modified-Since.

        A validator that is missing, over 1,000 characters or not printable ASCII is left out. The result is empty if
        both are left out.
        """
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value and _VALIDATOR.fullmatch(value)}


@dataclass(frozen=True, slots=True)
class Fetched:
    """The complete original of a photo in the file `path`, which the caller has to delete.

    `file_size` is in bytes, `sha256` in hex. `etag` and `last_modified` are the validators that the origin sent; each
    is None if the origin sent none that can be stored.
    """

    path: Path
    file_size: int
    sha256: str
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The origin answered that the photo's copy is still current (status 304).

    `etag` and `last_modified` are the validators for the next conditional request. Each is the validator of the answer,
    or the validator that was sent if the answer has none, or None if there was none either.
    """

    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Redirect:
    """The origin redirected the request to `location`, which is not checked yet and may be a relative URL."""

    location: str


Answer = Fetched | NotModified | Failure


def read(
    status: int, headers: Mapping[str, str], host: str, conditions: Mapping[str, str], now: datetime
) -> NotModified | Redirect | Failure:
    """Interpret the status and headers of an answer that holds no photo (any status but 200 and 203).

    Return NotModified for a 304 to a conditional request, and Redirect for a redirect with a location. Return a Failure
    for any other answer; its detail names `host`. `conditions` are the conditional headers that were sent, empty for
    none. If a 429 or 503 has a `Retry-After`, the failure has `wait_seconds`, counted from `now`.
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
    """Return the ETag and Last-Modified of an answer.

    Each is None if it is missing, empty, over 1,000 characters, or not printable ASCII.
    """
    etag, last_modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    return (
        etag if _VALIDATOR.fullmatch(etag) else None,
        last_modified if _VALIDATOR.fullmatch(last_modified) else None,
    )


def with_validators(failure: Failure, etag: str | None, last_modified: str | None) -> Failure:
    """Return the failure with the validators of the file that caused it, for the next attempt's conditional request.

    `etag` and `last_modified` are the file's validators, None for none. A failure whose reason is not in `REFUSED` is
    returned unchanged.
    """
    if failure.reason not in REFUSED:
        return failure
    return replace(failure, etag=etag, last_modified=last_modified)
