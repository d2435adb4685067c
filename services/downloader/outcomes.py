"""The outcomes of an attempt to get a good copy of a photo."""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.failures import Failure
from shared.domain.image import Copy, Photo


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A copy was stored in object storage: with new bytes, or with new variants of the same bytes."""

    copy: Copy


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The origin still has the version that the copy was made of: it said so (304), or it sent the same bytes again.

    `etag` and `last_modified` are the validators to store for the next conditional request; each is None if the origin
    sent none that can be stored.
    """

    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Deferred:
    """The attempt ended without a result, or was never made. The photo is due again at `until`.

    `url_is_used` is True if a request was sent nevertheless: then a single-use URL must not be fetched again.
    """

    until: datetime
    url_is_used: bool = False


Outcome = Downloaded | Unchanged | Failure | Deferred


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """A photo as it was claimed, the outcome of its attempt, and how many milliseconds the attempt took."""

    photo: Photo
    outcome: Outcome
    milliseconds: int


def result_of(outcome: Outcome) -> str:
    """Return the outcome's label for metrics and for the history of attempts, such as "downloaded".

    A failure's label is its reason.
    """
    match outcome:
        case Downloaded():
            return "downloaded"
        case Unchanged():
            return "unchanged"
        case Deferred():
            return "put-back"
        case Failure(reason):
            return reason.value
