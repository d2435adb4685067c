"""Which photos does a request make more urgent, and what can be shown of a photo?"""

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
    """Return a viewed photo whose last attempt failed at this time, with the next one due in an hour."""
    plain = a_photo(
        failure=Failure(reason), attempted_at=at, attempts=attempts, not_before=after(3_600), priority=VIEWED
    )
    return replace(plain, **facts)


def raised(photo: Photo, to: Priority) -> tuple[Photo | None, bool]:
    """Return the photo raised to the priority, None if nothing changed, and whether it was released."""
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
    photo, released = raised(a_photo(priority=before), to)
    assert (photo and photo.priority) == expected
    assert not released


@pytest.mark.parametrize("before", [ROUTINE, POPULAR, SEARCHED])
def test_the_first_view_releases_the_photo_at_once(before: Priority) -> None:
    photo, released = raised(a_photo(priority=before, not_before=after(99)), VIEWED)
    assert released
    assert photo == replace(a_photo(), priority=VIEWED, released_at=NOW, not_before=after(120))


def test_a_later_view_changes_nothing() -> None:
    first, _ = raised(a_photo(), VIEWED)
    assert first is not None
    assert raised(first, VIEWED) == (None, False)


def test_a_view_releases_a_photo_again_that_was_released_as_routine() -> None:
    photo, released = raised(lifecycle.release(a_photo(), after(-9)), VIEWED)
    assert released
    assert photo is not None
    assert photo.released_at == NOW


def test_a_view_releases_an_outdated_photo() -> None:
    _, released = raised(a_downloaded_photo(announced_at=after(1)), VIEWED)
    assert released


def test_a_view_of_a_claimed_photo_only_raises_its_priority() -> None:
    claimed = a_photo(claim=Claim(worker="w", until=after(60)), released_at=NOW, not_before=after(60))
    assert raised(claimed, VIEWED) == (replace(claimed, priority=VIEWED), False)


def test_a_view_releases_a_photo_whose_claim_has_ended() -> None:
    photo, released = raised(a_photo(claim=Claim(worker="w", until=NOW), released_at=after(-60)), VIEWED)
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
def test_a_view_releases_a_failed_photo_after_a_minute_if_attempts_are_left(photo: Photo, released: bool) -> None:
    assert raised(photo, VIEWED)[1] is released


@pytest.mark.parametrize(
    "listing",
    [
        a_listing(a_downloaded_photo("a")),
        a_listing(a_photo("a"), hidden=hidden()),
        a_listing(a_photo("a"), discards=(a_discard("a", whole=True),)),
        a_listing(a_photo("b")),
        a_listing(),
    ],
    ids=["downloaded", "hidden", "being removed", "not requested", "no photos"],
)
def test_photos_that_want_no_attempt_are_not_raised(listing: Listing) -> None:
    assert raise_photos(listing, [a_photo("a").id], VIEWED, a_feed(), NOW) is None


def test_only_the_requested_photos_are_raised() -> None:
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
def test_a_copy_is_found_or_the_reason_for_its_absence(photo: Photo, expected: object) -> None:
    assert find_copy(ShownPhoto(FEED, KEY, photo, photo.due_at), NOW) == expected


def test_a_photo_that_is_being_removed_is_on_its_way_without_a_due_time() -> None:
    assert find_copy(ShownPhoto(FEED, KEY, a_photo(), None), NOW) == Absent(Absence.ON_ITS_WAY, None)


@pytest.mark.parametrize(
    ("name", "configured", "found"),
    [
        ("full", {"full", "thumb"}, "full"),
        ("thumb", {"full", "thumb"}, "thumb"),
        ("card", {"full", "card"}, "full"),
        ("poster", {"full", "card"}, None),
        ("thumb", {"full"}, "thumb"),
        ("", {"full"}, None),
    ],
)
def test_a_variant_is_found_by_name_and_the_full_one_stands_for_a_configured_one_that_is_missing(
    name: str, configured: set[str], found: str | None
) -> None:
    variant = find_variant(a_copy(), name, configured)
    assert (variant and variant.name) == found


@pytest.mark.parametrize(
    ("reason", "due", "queue_seconds", "expected"),
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
def test_retry_after_is_when_the_photo_is_due_and_had_its_turn(
    reason: Absence, due: float | None, queue_seconds: float | None, expected: int
) -> None:
    absent = Absent(reason, None if due is None else after(due))
    assert retry_after_seconds(absent, queue_seconds, NOW) == expected
