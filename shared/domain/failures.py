"""Why did an attempt fail, and what follows? One table, read by the downloader, `explain` and the docs."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every way in which an attempt to get a good copy can end badly."""

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
    BROKEN_IMAGE = "broken-image"
    TOO_MANY_PIXELS = "too-many-pixels"
    TOO_MUCH_MEMORY = "too-much-memory"
    ENCODER_KILLED = "encoder-killed"
    INTERNAL_ERROR = "internal-error"


class Then(StrEnum):
    """What the record does next."""

    RETRY = "retry"
    """Due again after a growing wait, up to the feed's `max_attempts`."""
    FINAL = "final"
    """Nothing until the MLS announces something newer, or a day has passed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What follows from a reason, and its meaning in words for an operator."""

    then: Then
    meaning: str


POLICIES: dict[Reason, Policy] = {
    Reason.GONE: Policy(Then.FINAL, "the origin says that the photo does not exist (404, 410)"),
    Reason.FORBIDDEN: Policy(Then.RETRY, "the origin refuses (401, 403): an expired URL or a wrong token"),
    Reason.THROTTLED: Policy(Then.RETRY, "the origin asks for fewer requests (429)"),
    Reason.ORIGIN_ERROR: Policy(Then.RETRY, "the origin answered with an error (5xx or another unexpected status)"),
    Reason.UNREACHABLE: Policy(Then.RETRY, "no connection: name not found, refused, reset, or TLS failed"),
    Reason.TIMEOUT: Policy(Then.RETRY, "no complete answer within request_timeout_seconds, or a body that drips"),
    Reason.BROKEN_BODY: Policy(Then.RETRY, "the body ended early or was empty"),
    Reason.TOO_LARGE: Policy(Then.RETRY, "the file is larger than max_file_bytes"),
    Reason.TOO_MANY_REDIRECTS: Policy(Then.RETRY, "more than 3 redirects"),
    Reason.BAD_URL: Policy(Then.FINAL, "the URL is not one that may be fetched"),
    Reason.REFUSED_HOST: Policy(Then.FINAL, "the host or port is not in the feed's image_hosts"),
    Reason.REFUSED_ADDRESS: Policy(Then.RETRY, "the host's name leads to a private or reserved address"),
    Reason.NOT_AN_IMAGE: Policy(Then.RETRY, "the bytes are not JPEG, PNG, WebP, GIF or AVIF"),
    Reason.BROKEN_IMAGE: Policy(Then.RETRY, "the picture ends early or cannot be decoded"),
    Reason.TOO_MANY_PIXELS: Policy(Then.RETRY, "the picture has more pixels than max_pixels"),
    Reason.TOO_MUCH_MEMORY: Policy(Then.RETRY, "decoding needs more memory than a picture may take"),
    Reason.ENCODER_KILLED: Policy(Then.RETRY, "the process that decoded the picture died of it, or took too long"),
    Reason.INTERNAL_ERROR: Policy(Then.RETRY, "a fault of our own; the downloader's log says more"),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt. `detail` is for operators and never holds a URL or a token."""

    reason: Reason
    detail: str = ""
    wait_seconds: float | None = None
    """What the origin's Retry-After asked for, for the whole feed; null where it asked for nothing."""
