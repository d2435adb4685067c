"""What follows from a question: which photos become more urgent, and what can be shown of one?"""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from services.resolver.decide import (
    SOON_SECONDS,
    Absence,
    Absent,
    find_copy,
    find_variant,
    raise_photos,
    retry_after_seconds,
)
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Photo
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.answers import ShownPhoto
from tests.builders import (
    FEED,
    KEY,
    NOW,
    a_copy,
    a_discard,
    a_downloaded_photo,
    a_feed,
    a_listing,
    a_photo,
    after,
    hidden,
)

VIEWED, SEARCHED, POPULAR, ROUTINE = Priority.VIEWED, Priority.SEARCHED, Priority.POPULAR, Priority.ROUTINE
TIMEOUT = Failure(Reason.TIMEOUT)
LONG_AGO = NOW - lifecycle.RETRY_VIEWED_AFTER


def failed(reason: Reason = Reason.TIMEOUT, at: datetime = LONG_AGO, attempts: int = 1, **facts: Any) -> Photo:
    """Return a photo whose last attempt failed then, and which waits for the next."""
    plain = a_photo(
        failure=Failure(reason), attempted_at=at, attempts=attempts, not_before=after(3_600), priority=VIEWED
    )
    return replace(plain, **facts)


def asked(photo: Photo, to: Priority) -> tuple[Photo | None, bool]:
    """Return the photo as a question leaves it, None where it changes nothing, and whether it was released."""
    found = raise_photos(a_listing(photo), [photo.id], to, a_feed(), NOW)
    return (found.listing.photos[0], bool(found.released)) if found else (None, False)


@pytest.mark.parametrize(
    ("before", "to", "expected"),
    [
        (ROUTINE, SEARCHED, SEARCHED),
        (POPULAR, SEARCHED, SEARCHED),
        (ROUTINE, POPULAR, POPULAR),
        (SEARCHED, SEARCHED, None),
        (VIEWED, SEARCHED, None),
        (POPULAR, ROUTINE, None),
    ],
)
def test_a_search_raises_the_priority_and_never_lowers_it(
    before: Priority, to: Priority, expected: Priority | None
) -> None:
    photo, released = asked(a_photo(priority=before), to)
    assert (photo and photo.priority) == expected
    assert not released


@pytest.mark.parametrize("before", [ROUTINE, POPULAR, SEARCHED])
def test_the_first_view_releases_the_photo_at_once(before: Priority) -> None:
    photo, released = asked(a_photo(priority=before, not_before=after(99)), VIEWED)
    assert released
    assert photo == replace(a_photo(), priority=VIEWED, released_at=NOW, not_before=after(120))


def test_a_later_view_changes_nothing() -> None:
    first, _ = asked(a_photo(), VIEWED)
    assert first is not None
    assert asked(first, VIEWED) == (None, False)


def test_a_view_releases_again_what_was_released_as_routine() -> None:
    photo, released = asked(lifecycle.release(a_photo(), after(-9)), VIEWED)
    assert released
    assert photo is not None
    assert photo.released_at == NOW


def test_a_view_of_an_outdated_copy_releases_it_too() -> None:
    _, released = asked(a_downloaded_photo(announced_at=after(1)), VIEWED)
    assert released


def test_a_photo_in_a_workers_hands_is_only_raised() -> None:
    claimed = a_photo(claim=Claim(worker="w", until=after(60)), released_at=NOW, not_before=after(60))
    assert asked(claimed, VIEWED) == (replace(claimed, priority=VIEWED), False)


def test_a_photo_whose_worker_never_came_back_is_released() -> None:
    photo, released = asked(a_photo(claim=Claim(worker="w", until=NOW), released_at=after(-60)), VIEWED)
    assert released
    assert photo is not None
    assert photo.claim is None


@pytest.mark.parametrize(
    ("photo", "released"),
    [
        (failed(), True),
        (failed(at=after(-59.999)), False),
        (failed(at=after(-3_600)), True),
        (failed(attempted_at=None), True),
        (failed(attempts=5), True),
        (failed(attempts=6), False),
        (failed(Reason.GONE), False),
        (failed(Reason.REFUSED_HOST), False),
        (failed(released_at=after(-70)), False),
        (failed(priority=ROUTINE), True),
        (failed(at=NOW, priority=ROUTINE), False),
    ],
)
def test_a_view_of_a_failed_photo_tries_again_after_a_minute_if_attempts_are_left(photo: Photo, released: bool) -> None:
    assert asked(photo, VIEWED)[1] is released


@pytest.mark.parametrize(
    "listing",
    [
        a_listing(a_downloaded_photo("a")),
        a_listing(a_photo("a"), hidden=hidden()),
        a_listing(a_photo("a"), discards=(a_discard("a", whole=True),)),
        a_listing(a_photo("b")),
        a_listing(),
    ],
    ids=["downloaded", "hidden", "being removed", "not asked for", "no photos"],
)
def test_what_wants_no_attempt_is_left_alone(listing: Listing) -> None:
    assert raise_photos(listing, [a_photo("a").id], VIEWED, a_feed(), NOW) is None


def test_only_the_photos_asked_for_are_raised() -> None:
    listing = a_listing(a_photo("a"), a_photo("b"), a_downloaded_photo("c"))
    found = raise_photos(listing, [photo.id for photo in listing.photos[1:]], VIEWED, a_feed(), NOW)
    assert found is not None
    assert [photo.object_id for photo in found.released] == ["b"]
    assert found.listing.photos[0] == listing.photos[0]
    assert found.listing.photo(found.released[0].id) == found.released[0]


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        (a_downloaded_photo(), a_copy()),
        (a_downloaded_photo(announced_at=after(1)), a_copy()),
        (a_downloaded_photo(failure=Failure(Reason.GONE), announced_at=after(1)), a_copy()),
        (a_photo(), Absent(Absence.ON_ITS_WAY, NOW)),
        (lifecycle.release(a_photo(), NOW), Absent(Absence.ON_ITS_WAY, None)),
        (failed(), Absent(Absence.LATER, after(3_600))),
        (failed(released_at=NOW), Absent(Absence.ON_ITS_WAY, None)),
        (failed(at=after(1), released_at=NOW), Absent(Absence.LATER, after(3_600))),
        (failed(at=NOW), Absent(Absence.LATER, after(3_600))),
        (failed(at=NOW, released_at=NOW), Absent(Absence.LATER, after(3_600))),
        (failed(at=after(-1), released_at=NOW), Absent(Absence.ON_ITS_WAY, None)),
        (failed(Reason.GONE), Absent(Absence.GONE, after(3_600))),
        (failed(Reason.GONE, released_at=NOW), Absent(Absence.GONE, after(3_600))),
    ],
)
def test_a_copy_is_shown_and_without_one_why_there_is_none(photo: Photo, expected: object) -> None:
    assert find_copy(ShownPhoto(FEED, KEY, photo, photo.due_at), NOW) == expected


def test_a_photo_whose_objects_are_being_removed_is_on_its_way_at_no_known_time() -> None:
    assert find_copy(ShownPhoto(FEED, KEY, a_photo(), None), NOW) == Absent(Absence.ON_ITS_WAY, None)


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("full", {"full", "thumb"}, "full"),
        ("thumb", {"full", "thumb"}, "thumb"),
        ("card", {"full", "card"}, "full"),
        ("poster", {"full", "card"}, None),
        ("thumb", {"full"}, "thumb"),
        ("", {"full"}, None),
    ],
)
def test_a_variant_is_found_by_name_and_one_that_an_old_copy_lacks_is_its_full_one(
    name: str, known: set[str], found: str | None
) -> None:
    one = find_variant(a_copy(), name, known)
    assert (one and one.name) == found


@pytest.mark.parametrize(
    ("why", "due", "queue_seconds", "expected"),
    [
        (Absence.ON_ITS_WAY, None, None, SOON_SECONDS),
        (Absence.ON_ITS_WAY, None, 900.0, SOON_SECONDS),
        (Absence.ON_ITS_WAY, -60, None, SOON_SECONDS),
        (Absence.ON_ITS_WAY, -60, 2.0, SOON_SECONDS),
        (Absence.ON_ITS_WAY, -60, 40.2, 41),
        (Absence.ON_ITS_WAY, 90, None, 90),
        (Absence.ON_ITS_WAY, 90, 40.2, 131),
        (Absence.ON_ITS_WAY, 90, 1e9, 3_690),
        (Absence.LATER, -1, None, 1),
        (Absence.LATER, 30, 0.0, 30),
        (Absence.LATER, 86_400, None, 86_400),
    ],
)
def test_it_is_worth_asking_again_once_it_is_due_and_had_its_turn(
    why: Absence, due: float | None, queue_seconds: float | None, expected: int
) -> None:
    absent = Absent(why, None if due is None else after(due))
    assert retry_after_seconds(absent, queue_seconds, NOW) == expected
