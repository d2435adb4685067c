"""The outcomes of an attempt to get a good copy of a photo."""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.failures import Failure
from shared.domain.image import Copy, Photo


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A copy was stored: of other bytes than before, or of the same bytes with other variants."""

    copy: Copy


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The origin still has the version of our copy. The validators are for the next conditional request."""

    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Deferred:
    """There was no attempt, or one that says nothing about the photo: the photo is due again at `until`.

    `url_is_used` is True if a request was sent all the same.
    """

    until: datetime
    url_is_used: bool = False


Outcome = Downloaded | Unchanged | Failure | Deferred


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """A photo as it was claimed, the outcome of its attempt, and how long the attempt took."""

    photo: Photo
    outcome: Outcome
    milliseconds: int


def result_of(outcome: Outcome) -> str:
    """Return the label of an outcome in metrics and in the history of attempts; that of a failure is its reason."""
    match outcome:
        case Downloaded():
            return "downloaded"
        case Unchanged():
            return "unchanged"
        case Deferred():
            return "put-back"
        case Failure(reason):
            return reason.value
