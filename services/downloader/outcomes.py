"""What came of one attempt to get a good copy of a photo."""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.failures import Failure
from shared.domain.image import Copy, Photo


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Other bytes, or another rendering of the same, stored under the copy's keys."""

    copy: Copy


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The copy that we hold is the origin's; by these validators it is asked for the next time."""

    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Deferred:
    """There was no attempt, or none that says anything of the photo: the budget is spent, our own storage is away."""

    until: datetime
    url_is_used: bool = False
    """Whether the origin was asked all the same."""


Outcome = Downloaded | Unchanged | Failure | Deferred


@dataclass(frozen=True, slots=True)
class Ended:
    """A claimed photo and what came of it."""

    photo: Photo
    outcome: Outcome
    milliseconds: int
