"""Why did an MLS give no usable answer?"""

from enum import StrEnum


class MlsFailure(StrEnum):
    """The reasons why an MLS gave no usable answer; their values are labels of metrics."""

    BAD_QUERY = "bad-query"
    NO_RESOURCE = "no-resource"
    REFUSED = "refused"
    THROTTLED = "throttled"
    QUOTA = "quota"
    MLS_ERROR = "mls-error"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BAD_ANSWER = "bad-answer"
    TOO_LARGE = "too-large"
    INCOMPLETE = "incomplete"


class MlsUnavailable(Exception):
    """Raised if an MLS gave no usable answer, for the reason `failure`.

    `wait_seconds` is how long the MLS asks the client to wait, None if it names no time. `detail` says more in words,
    and has no URL and no token.
    """

    def __init__(self, failure: MlsFailure, detail: str, wait_seconds: float | None = None) -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure = failure
        self.wait_seconds = wait_seconds


class TokenRefused(MlsUnavailable):
    """Raised if an MLS answered 401: it does not accept the token of the request."""
