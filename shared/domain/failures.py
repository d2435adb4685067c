"""Why did an attempt fail, and what follows from that? docs/failures.md shows the table to operators."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why an attempt to get a good copy of a photo failed."""

    GONE = "gone"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"
    ORIGIN_ERROR = "origin-error"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BROKEN_BODY = "broken-body"
    TOO_LARGE = "too-large"
    TOO_MANY_REDIRECTS = "too-many-redirects"
    BAD_URL = "bad-url"
    REFUSED_HOST = "refused-host"
    REFUSED_ADDRESS = "refused-address"
    NOT_AN_IMAGE = "not-an-image"
    UNSUPPORTED_FORMAT = "unsupported-format"
    BROKEN_IMAGE = "broken-image"
    TOO_MANY_PIXELS = "too-many-pixels"
    TOO_MUCH_MEMORY = "too-much-memory"
    NO_PHOTO = "no-photo"
    ENCODER_KILLED = "encoder-killed"
    INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True, slots=True)
class ReasonRule:
    """What follows from a failure's reason, and the meaning of that reason for operators."""

    is_final: bool
    """True if the photo is given up at once: no attempt until the MLS announces a newer version or a day has passed.
    False if attempts go on after growing waits, up to the feed's `max_attempts`."""
    meaning: str
    """Why the attempt failed, as a phrase for operators."""


_FINAL, _RETRIED = True, False
REASONS: Mapping[Reason, ReasonRule] = {
    Reason.GONE: ReasonRule(_FINAL, "the origin says that the photo does not exist (404, 410)"),
    Reason.FORBIDDEN: ReasonRule(_RETRIED, "the origin refuses (401, 403): an expired URL or a wrong token"),
    Reason.THROTTLED: ReasonRule(_RETRIED, "the origin asks for fewer requests (429)"),
    Reason.ORIGIN_ERROR: ReasonRule(_RETRIED, "the origin answered with an error (5xx or another unexpected status)"),
    Reason.UNREACHABLE: ReasonRule(_RETRIED, "no connection: name not found, refused, reset, or TLS failed"),
    Reason.TIMEOUT: ReasonRule(_RETRIED, "no complete answer within request_timeout_seconds, or a body that drips"),
    Reason.BROKEN_BODY: ReasonRule(_RETRIED, "the body ended early or was empty"),
    Reason.TOO_LARGE: ReasonRule(_FINAL, "the file is larger than max_file_bytes"),
    Reason.TOO_MANY_REDIRECTS: ReasonRule(_RETRIED, "more than 3 redirects"),
    Reason.BAD_URL: ReasonRule(_FINAL, "the URL is not one that may be fetched"),
    Reason.REFUSED_HOST: ReasonRule(_FINAL, "the host or port is not in the feed's image_hosts"),
    Reason.REFUSED_ADDRESS: ReasonRule(_RETRIED, "the host's name leads to a private or reserved address"),
    Reason.NOT_AN_IMAGE: ReasonRule(
        _RETRIED, "the bytes are not JPEG, PNG, WebP, GIF or AVIF, and no other known format"
    ),
    Reason.UNSUPPORTED_FORMAT: ReasonRule(_FINAL, "the file is of a known format, such as HEIC, that is not supported"),
    Reason.BROKEN_IMAGE: ReasonRule(_RETRIED, "the picture ends early or cannot be decoded"),
    Reason.TOO_MANY_PIXELS: ReasonRule(_FINAL, "the picture has more pixels than max_pixels"),
    Reason.TOO_MUCH_MEMORY: ReasonRule(_FINAL, "decoding needs more memory than a picture may take"),
    Reason.NO_PHOTO: ReasonRule(_RETRIED, "the origin sent a picture that stands for a missing photo"),
    Reason.ENCODER_KILLED: ReasonRule(_RETRIED, "the process that decoded the picture died of it, or took too long"),
    Reason.INTERNAL_ERROR: ReasonRule(_RETRIED, "a fault of our own; the downloader's log says more"),
}

REFUSED = frozenset(
    {
        Reason.TOO_LARGE,
        Reason.UNSUPPORTED_FORMAT,
        Reason.TOO_MANY_PIXELS,
        Reason.TOO_MUCH_MEMORY,
        Reason.NO_PHOTO,
    }
)
"""The reasons of failures that the same file would cause again: the next request for it is conditional."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt: its reason, and details for operators. `detail` never holds a URL or a token."""

    reason: Reason
    detail: str = ""
    wait_seconds: float | None = None
    """For how many seconds the origin's Retry-After asked for no request of the feed; None if it did not ask."""
    etag: str | None = None
    """The validators that the origin sent with a file that was refused (`REFUSED`); None if there was none to store."""
    last_modified: str | None = None
    may_come: bool = False
    """True if the origin lacks a photo that was announced so recently that the photo may still be on its way there."""
