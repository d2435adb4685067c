"""Tests what is judged of an origin's answer before it becomes a copy or a failure."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from services.downloader import judging
from shared.domain.failures import REFUSED, Failure, Reason
from shared.domain.image import Copy
from tests.builders import NOW, a_copy, a_photo, after


@pytest.mark.parametrize(
    ("announced_at", "may_come"),
    [
        (after(-10), True),
        (after(-3_599), True),
        (after(30), True),
        (after(-3_600), False),
        (after(3_600), False),
        (None, False),
    ],
)
def test_a_photo_announced_within_the_hour_may_come(announced_at: datetime | None, may_come: bool) -> None:
    failure = Failure(Reason.GONE, "photos.example.com answered 404")
    found = judging.with_lateness(failure, a_photo(announced_at=announced_at), NOW)
    assert found == replace(failure, may_come=may_come)


def test_other_failures_stay_however_late_they_come() -> None:
    for reason in set(Reason) - {Reason.GONE}:
        assert judging.with_lateness(Failure(reason), a_photo(announced_at=NOW), NOW) == Failure(reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_only_a_file_that_was_refused_for_what_it_is_is_asked_for_conditionally(reason: Reason) -> None:
    failure = Failure(reason, etag='"v1"')
    assert judging.refused_before(a_photo(failure=failure)) == (failure if reason in REFUSED else None)
    assert judging.refused_before(a_photo(failure=replace(failure, etag=None))) is None
    assert judging.refused_before(a_photo(failure=failure, forced_at=NOW)) is None


TINY: dict[str, Any] = {"width": 1, "height": 1, "file_size": 43}


@pytest.mark.parametrize(
    ("held", "sides_and_size", "is_refused"),
    [
        (a_copy(), (1, 1, 43), True),
        (a_copy(), (2, 2, 5_000), True),
        (a_copy(), (200, 150, 999), True),
        (a_copy(), (3, 1, 1_000), False),
        (a_copy(), (200, 150, 1_000), False),
        (None, (1, 1, 43), False),
        (a_copy(**TINY), (1, 1, 44), False),
    ],
)
def test_a_tiny_picture_does_not_replace_a_good_copy(
    held: Copy | None, sides_and_size: tuple[int, int, int], is_refused: bool
) -> None:
    found = judging.failure_if_tiny(held, *sides_and_size)
    assert (found is not None and found.reason is Reason.NO_PHOTO) is is_refused
