"""Which status, due time, priority and removal time follow from the facts of photos and their listing?"""

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Status, image_id, url_key, url_keys
from shared.domain.listing import Listing
from shared.domain.priority import Priority, most_urgent
from tests.builders import NOW, a_copy, a_discard, a_downloaded_photo, a_listing, a_photo, after, hidden

FAILED = Failure(Reason.TIMEOUT)


@pytest.mark.parametrize(
    ("announced_at", "copied_at", "failure", "status", "due"),
    [
        (NOW, "none", None, Status.PENDING, True),
        (None, "none", None, Status.PENDING, True),
        (NOW, "none", FAILED, Status.FAILED, True),
        (NOW, NOW, None, Status.DOWNLOADED, False),
        (NOW, NOW, FAILED, Status.DOWNLOADED, False),
        (None, None, None, Status.DOWNLOADED, False),
        (None, NOW, None, Status.DOWNLOADED, False),
        (NOW, after(1), None, Status.DOWNLOADED, False),
        (after(1), NOW, None, Status.OUTDATED, True),
        (after(1), NOW, FAILED, Status.OUTDATED, True),
        (NOW, None, None, Status.OUTDATED, True),
    ],
)
def test_status_and_due_time_follow_from_copy_versions_and_failure(
    announced_at: datetime | None, copied_at: datetime | str | None, failure: Failure | None, status: Status, due: bool
) -> None:
    copy = None if copied_at == "none" else a_copy(mls_changed_at=copied_at)
    photo = a_photo(announced_at=announced_at, copy=copy, failure=failure, not_before=after(7))
    assert photo.status is status
    assert photo.wants_attempt is due
    assert photo.due_at == (after(7) if due else None)


def test_a_forced_photo_is_due_although_its_copy_is_of_the_newest_version() -> None:
    photo = a_downloaded_photo(forced_at=NOW)
    assert (photo.status, photo.due_at) == (Status.DOWNLOADED, NOW)


def test_a_released_photo_is_due_again_when_its_lease_of_two_minutes_ends() -> None:
    photo = lifecycle.release(a_photo(claim=Claim(worker="w", until=NOW)), after(1))
    assert (photo.released_at, photo.claim, photo.due_at) == (after(1), None, after(121))


def test_a_deferred_photo_is_due_at_the_given_time() -> None:
    photo = lifecycle.defer(a_photo(claim=Claim(worker="w", until=NOW), released_at=NOW), after(3))
    assert (photo.released_at, photo.claim, photo.due_at) == (None, None, after(3))


@pytest.mark.parametrize(
    ("claim", "at", "expected"),
    [
        (None, 0, False),
        (Claim(worker="w", until=after(5)), 4, True),
        (Claim(worker="w", until=after(5)), 5, False),
    ],
)
def test_a_claim_ends_with_its_lease(claim: Claim | None, at: float, expected: bool) -> None:
    assert a_photo(claim=claim).is_claimed(after(at)) is expected


def test_image_ids_and_url_keys_never_change() -> None:
    assert image_id("proptx-idx", "X5678", "photo-1") == "32e2ceab0c7758a30868997aad49ffd9"
    assert url_key("https://photos.example.com/a.jpg") == "7ebd96c787fc0c42e5d5c524"


IDENTITIES = st.tuples(*[st.text(alphabet='a",[ \\é', max_size=4)] * 3)


@given(IDENTITIES, IDENTITIES)
def test_image_ids_are_url_safe_and_no_two_images_share_one(
    first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", image_id(*first))
    assert (image_id(*first) == image_id(*second)) is (first == second)


def test_url_keys_keep_their_order_and_come_once_each() -> None:
    assert url_keys(["b", "a", "b"]) == (url_key("b"), url_key("a"))


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        ([], Priority.ROUTINE),
        ([Priority.ROUTINE, Priority.POPULAR], Priority.POPULAR),
        ([Priority.SEARCHED, Priority.VIEWED, Priority.ROUTINE], Priority.VIEWED),
        ([Priority.POPULAR, Priority.SEARCHED], Priority.SEARCHED),
    ],
)
def test_the_most_urgent_of_several_priorities(priorities: list[Priority], expected: Priority) -> None:
    assert most_urgent(*priorities) is expected


PHOTOS = (
    a_photo("a", not_before=after(9), priority=Priority.POPULAR),
    a_photo("b", not_before=after(3)),
    a_downloaded_photo("c", priority=Priority.VIEWED, not_before=after(1)),
    a_photo("d", not_before=after(60), released_at=NOW, failure=FAILED),
)


@pytest.mark.parametrize(
    ("listing", "due_at", "priority", "released"),
    [
        (a_listing(), None, Priority.ROUTINE, ""),
        (a_listing(*PHOTOS), after(3), Priority.POPULAR, "d"),
        (a_listing(*PHOTOS, hidden=hidden()), None, Priority.ROUTINE, ""),
        (a_listing(*PHOTOS, discards=(a_discard("b", whole=True),)), after(9), Priority.POPULAR, "d"),
        (a_listing(*PHOTOS, discards=(a_discard("b"),)), after(3), Priority.POPULAR, "d"),
        (a_listing(*PHOTOS, discards=(a_discard("d", whole=True),)), after(3), Priority.POPULAR, ""),
    ],
)
def test_a_listing_is_as_urgent_as_the_most_urgent_of_its_due_photos(
    listing: Listing, due_at: datetime | None, priority: Priority, released: str
) -> None:
    assert (listing.due_at, listing.priority) == (due_at, priority)
    assert [photo.object_id for photo in listing.released] == released.split()


@pytest.mark.parametrize(
    ("listing", "removal_due_at"),
    [
        (a_listing(a_photo()), None),
        (a_listing(a_photo(), hidden=hidden(remove_at=5)), after(5)),
        (a_listing(hidden=hidden(remove_at=5)), None),
        (a_listing(discards=(a_discard("a", remove_at=after(8)), a_discard("b", remove_at=after(3)))), after(3)),
        (a_listing(a_photo(), hidden=hidden(remove_at=5), discards=(a_discard(remove_at=after(3)),)), after(3)),
    ],
)
def test_a_listings_removal_is_due_with_its_first_discard_or_as_a_whole(
    listing: Listing, removal_due_at: datetime | None
) -> None:
    assert listing.removal_due_at == removal_due_at


def test_photos_are_counted_by_status() -> None:
    assert a_listing(*PHOTOS).counts == {Status.PENDING: 2, Status.DOWNLOADED: 1, Status.FAILED: 1}


def test_photos_are_found_and_replaced_by_id() -> None:
    listing = a_listing(*PHOTOS)
    b = a_photo("b", order=1, caption="Hall")
    assert listing.photo("nothing") is None
    changed = listing.with_photos([b, a_photo("of another listing")])
    assert changed.photos == (listing.photos[0], b, *listing.photos[2:])
