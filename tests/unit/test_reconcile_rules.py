"""What does an announcement change of a photo and of a listing? Rules that the table of cases does not show."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain import announcement, lifecycle, reconcile
from shared.domain.failures import Failure, Reason
from shared.domain.freshness import Position
from shared.domain.image import Claim, Status, url_key
from shared.domain.listing import Listing, RemovalReason
from shared.domain.priority import Priority
from tests.builders import (
    NOW,
    Row,
    a_copy,
    a_feed,
    a_listing,
    a_photo,
    a_record,
    a_row,
    after,
    announced,
    only_photo,
    stamp,
    with_copies,
    without,
)

A, B = a_row("a"), a_row("b")
DAY = 86_400.0
"""In seconds."""


def own(key: str, at: float) -> Row:
    """Return a row with a timestamp of its own, `at` seconds after NOW."""
    return a_row(key, MediaModificationTimestamp=stamp(at))


def test_a_new_photo_is_due_at_once_and_announced_by_its_own_timestamp_or_its_listings() -> None:
    plain, with_own = (only_photo(announced(a_record(row, at=3), now=after(9))) for row in (A, own("a", 1)))
    assert (plain.announced_at, plain.has_own_timestamp, plain.not_before) == (after(3), False, after(9))
    assert (with_own.announced_at, with_own.has_own_timestamp, with_own.not_before) == (after(1), True, after(9))
    assert plain.status is Status.PENDING


def test_a_newly_signed_url_replaces_the_url_to_fetch_and_to_resolve_by() -> None:
    first = announced(a_record(A))
    photo = only_photo(announced(a_record(a_row("a", MediaURL="https://photos.example.com/2")), first, offset=1))
    assert photo.url == "https://photos.example.com/2"
    assert photo.url_keys == (url_key(photo.url),)


def test_a_newer_version_makes_the_copy_outdated_and_keeps_it() -> None:
    first = with_copies(announced(a_record(A)))
    photo = only_photo(announced(a_record(A, at=1), first))
    assert photo.copy == only_photo(first).copy
    assert photo.status is Status.OUTDATED


def test_a_photo_that_gets_an_older_timestamp_of_its_own_gives_it_to_its_copy() -> None:
    held = with_copies(announced(a_record(A, at=5)))
    restated = announced(a_record(own("a", 1), at=6), held)
    photo = only_photo(restated)
    assert photo.copy is not None
    assert (photo.copy.mls_changed_at, photo.status) == (after(1), Status.DOWNLOADED)
    assert only_photo(announced(a_record(own("a", 2), at=7), restated)).status is Status.OUTDATED


def test_an_outdated_photo_that_gets_an_older_timestamp_stays_outdated() -> None:
    outdated = announced(a_record(A, at=5), with_copies(announced(a_record(A))))
    assert only_photo(announced(a_record(own("a", 1), at=6), outdated)).status is Status.OUTDATED


def test_a_newer_version_makes_a_given_up_photo_due_with_all_attempts() -> None:
    first = announced(a_record(A))
    failed = replace(
        only_photo(first), attempts=6, failure=Failure(Reason.GONE), attempted_at=NOW, not_before=after(86_400)
    )
    assert first is not None
    photo = only_photo(announced(a_record(A, at=1), first.with_photos([failed]), now=after(60)))
    assert (photo.attempts, photo.failure, photo.not_before) == (0, None, after(60))


@pytest.mark.parametrize(
    "facts",
    [{"released_at": NOW}, {"claim": Claim(worker="w", until=after(80))}],
    ids=["released", "claimed"],
)
def test_a_newer_version_leaves_a_photo_in_flight_as_it_is(facts: dict[str, object]) -> None:
    first = announced(a_record(A))
    assert first is not None
    in_flight = replace(only_photo(first), not_before=after(80), **facts)  # type: ignore[arg-type]
    photo = only_photo(announced(a_record(A, at=1), first.with_photos([in_flight]), now=after(60)))
    assert photo.not_before == after(80)
    assert (photo.released_at, photo.claim) == (in_flight.released_at, in_flight.claim)
    assert photo.announced_at == after(1)


def test_the_same_version_again_does_not_end_a_failed_photos_wait() -> None:
    first = announced(a_record(A))
    assert first is not None
    failed = replace(only_photo(first), attempts=2, failure=Failure(Reason.TIMEOUT), not_before=after(60))
    photo = only_photo(
        announced(a_record(a_row("a", Order=7, ShortDescription="Hall")), first.with_photos([failed]), offset=1)
    )
    assert (photo.attempts, photo.failure, photo.not_before) == (2, failed.failure, after(60))


def test_a_withdrawn_photos_discard_names_its_objects() -> None:
    first = with_copies(announced(a_record(A)))
    second = announced(a_record(at=1), first, now=after(9))
    assert second is not None
    (discard,) = second.discards
    copy = a_copy("a")
    assert discard.public_keys == tuple(variant.key for variant in copy.variants)
    assert discard.original_keys == (copy.original_key,)
    assert (discard.image_id, discard.since) == (only_photo(first).id, after(9))


def test_a_photo_shown_again_is_not_due_before_its_removal_is_finished() -> None:
    listing = announced(a_record(A, at=2), announced(a_record(at=1), announced(a_record(A))))
    assert listing is not None
    assert listing.due_at is None
    assert replace(listing, discards=()).due_at == NOW


@pytest.mark.parametrize(
    ("fields", "keep_hours", "seconds"),
    [
        ({"StandardStatus": "Closed"}, 0.0, 5),
        ({"StandardStatus": "Closed"}, 0.5, 1800),
        ({"StandardStatus": "Closed"}, 0.0001, 5),
        ({"MlgCanView": False}, 24.0, 5),
        ({"InternetEntireListingDisplayYN": False}, 24.0, 5),
        ({"InternetEntireListingDisplayYN": False, "StandardStatus": "Closed"}, 24.0, 5),
    ],
)
def test_copies_of_a_hidden_listing_are_kept_as_long_as_the_feed_allows(
    fields: Row, keep_hours: float, seconds: float
) -> None:
    listing = announced(a_record(A, **fields), feed=a_feed(keep_after_inactive_hours=keep_hours))
    assert listing is not None
    assert listing.hidden is not None
    assert listing.hidden.remove_at == NOW + timedelta(seconds=seconds)
    assert listing.removal_due_at == listing.hidden.remove_at
    assert listing.due_at is None


def test_an_opt_out_ends_the_time_that_copies_of_a_sold_listing_are_kept() -> None:
    vow = a_feed(keep_after_inactive_hours=24.0)
    sold = announced(a_record(A, StandardStatus="Closed"), feed=vow)
    listing = announced(a_record(A, at=1, InternetEntireListingDisplayYN=False), sold, feed=vow, now=after(600))
    assert listing is not None
    assert listing.hidden is not None
    assert (listing.hidden.since, listing.hidden.remove_at) == (NOW, after(5))


def test_a_hidden_listing_that_is_hidden_again_stays_hidden_since_the_first_time() -> None:
    sold = announced(a_record(A, StandardStatus="Closed"))
    again = announced(a_record(A, at=1, StandardStatus="Expired"), sold, now=after(600))
    assert again is not None
    assert again.hidden is not None
    assert (again.hidden.since, again.hidden.remove_at) == (NOW, after(5))


@pytest.mark.parametrize(
    ("in_flight", "is_due"),
    [
        ({"released_at": NOW, "not_before": after(120)}, True),
        ({"released_at": NOW, "not_before": after(80), "claim": Claim(worker="w", until=after(80))}, False),
        ({"not_before": after(60), "failure": Failure(Reason.TIMEOUT), "attempts": 1}, False),
    ],
    ids=["released", "claimed", "failed"],
)
def test_a_released_photo_is_due_at_once_when_its_hidden_listing_is_shown_again(
    in_flight: dict[str, Any], is_due: bool
) -> None:
    first = announced(a_record(own("a", 0)))
    photo = replace(only_photo(first), **in_flight)
    assert first is not None
    hidden = announced(a_record(own("a", 0), at=1, StandardStatus="Closed"), first.with_photos([photo]), now=after(1))
    assert only_photo(hidden).not_before == photo.not_before
    shown = only_photo(announced(a_record(own("a", 0), at=2), hidden, now=after(2)))
    assert shown == (lifecycle.defer(photo, after(2)) if is_due else photo)


def test_removed_photos_of_a_hidden_listing_are_recorded_again_only_when_it_is_shown() -> None:
    sold = announced(a_record(A, StandardStatus="Closed"))
    assert sold is not None
    removed = replace(sold, photos=())
    assert announced(a_record(A, StandardStatus="Closed"), removed, offset=1, now=after(60)) is None
    back = announced(a_record(A, at=1), removed, offset=2, now=after(60))
    assert back is not None
    assert [photo.object_id for photo in back.photos] == ["a"]


@pytest.mark.parametrize(
    ("city", "priority"),
    [
        ("Toronto", Priority.POPULAR),
        (" toronto ", Priority.POPULAR),
        ("Guelph", Priority.ROUTINE),
        (None, Priority.ROUTINE),
    ],
)
def test_photos_of_popular_areas_have_priority_popular(city: str | None, priority: Priority) -> None:
    assert only_photo(announced(a_record(A, City=city), feed=a_feed(popular_areas=("Toronto",)))).priority is priority


def test_a_record_without_a_city_changes_neither_the_city_nor_a_more_urgent_priority() -> None:
    popular = a_feed(popular_areas=("Toronto",))
    first = announced(a_record(A, City="Toronto"), feed=popular)
    assert first is not None
    viewed = first.with_photos([replace(only_photo(first), priority=Priority.VIEWED)])
    second = announced(a_record(A, at=1, City=None), viewed, feed=popular)
    assert second is not None
    assert second.city == "Toronto"
    assert only_photo(second).priority is Priority.VIEWED


def test_seen_at_is_when_the_last_change_was_recorded() -> None:
    first = announced(a_record(A), now=after(1))
    second = announced(a_record(A, at=1), first, now=after(2))
    assert first is not None
    assert second is not None
    assert (first.seen_at, second.seen_at) == (after(1), after(2))
    assert announced(a_record(A, at=1), second, now=after(3)) is None


def test_image_ids_differ_by_photo_listing_and_feed() -> None:
    assert len({a_photo("a").id, a_photo("a", key="X2").id, a_photo("a", feed="other").id, a_photo("b").id}) == 4


def announced_by(event_id: str, record: Row, listing: Listing | None) -> Listing:
    found = announcement.read(a_feed(), record, event_id=event_id)
    after = reconcile.apply(listing, found, a_feed(), NOW)
    assert after is not None
    return after


def test_a_photos_cause_is_the_event_that_announced_its_newest_version() -> None:
    same = {"MediaModificationTimestamp": stamp(0)}
    first = announced_by("first", a_record(a_row("a", **same), a_row("b", **same)), None)
    assert [photo.cause for photo in first.photos] == ["first", "first"]
    newer = {"MediaModificationTimestamp": stamp(9)}
    second = announced_by("second", a_record(a_row("b", **newer), a_row("c", **same), a_row("a", **same), at=9), first)
    assert {photo.object_id: photo.cause for photo in second.photos} == {"a": "first", "b": "second", "c": "second"}
    third = announced_by("third", without(a_record(at=10), "Media"), second)
    assert {photo.object_id: photo.cause for photo in third.photos} == {"a": "first", "b": "second", "c": "second"}


def test_a_listing_first_seen_hidden_was_never_displayed() -> None:
    never = announced(a_record(A, StandardStatus="Closed"))
    shown = announced(a_record(A))
    closed = announced(a_record(A, at=60, StandardStatus="Closed"), shown, now=after(65))
    still = announced(a_record(A, at=90, StandardStatus="Expired"), closed, now=after(95))
    assert never and never.hidden and closed and closed.hidden and still and still.hidden  # noqa: PT018 - for the types
    assert not never.hidden.was_displayed
    for hidden in (closed.hidden, still.hidden):
        assert (hidden.was_displayed, hidden.since, hidden.off_market_at) == (True, after(65), after(60))


def test_a_withdrawn_photos_discard_has_the_mls_time_of_the_announcement() -> None:
    listing = announced(a_record(B, at=60), announced(a_record(A, B)), now=after(65))
    assert listing
    (discard,) = listing.discards
    assert (discard.object_id, discard.since, discard.off_market_at) == ("a", after(65), after(60))


def test_a_photo_withdrawn_of_a_hidden_listing_counts_as_not_shown_since_the_listing_was_hidden() -> None:
    closed = announced(a_record(A, B, at=60, StandardStatus="Closed"), announced(a_record(A, B)), now=after(65))
    fewer = announced(a_record(B, at=90, StandardStatus="Closed"), closed, now=after(95))
    assert fewer
    (discard,) = fewer.discards
    assert (discard.since, discard.off_market_at, discard.unshown_at) == (after(65), after(60), after(95))


def test_a_photo_withdrawn_of_a_listing_whose_copies_are_kept_goes_as_withdrawn() -> None:
    feed = a_feed(keep_after_inactive_hours=1)
    closed = reconcile.apply(
        announced(a_record(A, B)), announcement.read(feed, a_record(B, StandardStatus="Closed")), feed, NOW
    )
    assert closed
    assert [(discard.object_id, discard.reason) for discard in closed.discards] == [
        ("a", RemovalReason.PHOTO_WITHDRAWN)
    ]


def test_a_listing_that_stays_hidden_gets_no_photos_after_its_removal() -> None:
    gone = announced(a_record(A, StandardStatus="Closed"))
    assert gone
    removed = replace(gone, photos=())
    assert announced(a_record(A, StandardStatus="Closed"), removed, offset=1, now=after(6)) is None
    still_hidden = announced(a_record(A, StandardStatus="Closed"), removed, offset=1, now=after(4))
    assert still_hidden
    assert len(still_hidden.photos) == 1, "until then it may come right back"
    back = announced(a_record(A), removed, offset=1, now=after(6))
    assert back
    assert (back.is_displayed, len(back.photos)) == (True, 1)


def test_a_time_from_the_future_is_not_recorded_and_later_announcements_are_applied() -> None:
    listing = with_copies(announced(a_record(A, at=0)))
    future = announced(a_record(a_row("a", MediaModificationTimestamp=stamp(2 * DAY)), at=2 * DAY), listing, offset=1)
    assert future is None or (future.modified_at, future.media_changed_at) == (NOW, NOW)
    assert future is None or not only_photo(future).is_outdated
    sold = announced(a_record(A, at=1, StandardStatus="Closed"), future or listing, offset=2)
    assert sold is not None
    assert not sold.is_displayed


@pytest.mark.parametrize(("fields", "is_displayed"), [({"StandardStatus": "Closed"}, False), ({}, True)])
def test_a_recorded_time_from_the_future_hides_no_replayed_older_announcement_that_hides(
    fields: dict[str, Any], is_displayed: bool
) -> None:
    listing = a_listing(a_photo("a"), modified_at=after(400 * DAY), media_changed_at=NOW, position=Position(NOW, 0, 9))
    then = announced(a_record(A, at=-60, **fields), listing, offset=1)
    assert (then or listing).is_displayed is is_displayed


def test_a_recorded_time_from_the_future_is_replaced_by_the_next_announced() -> None:
    listing = a_listing(a_photo("a"), modified_at=after(400 * DAY), media_changed_at=after(400 * DAY))
    then = announced(a_record(A, at=60), listing, offset=1)
    assert then is not None
    assert (then.modified_at, then.media_changed_at) == (after(60), after(60))
