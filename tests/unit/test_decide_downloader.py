"""Tests which requested photos a worker may claim, and what each outcome changes in its listing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.downloader.decide import Settled, abandoned, claimable, settle
from services.downloader.outcomes import Deferred, Downloaded, Outcome, Unchanged
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Copy, Photo, Status, url_key
from shared.domain.listing import Listing, RemovalReason, copy_keys
from shared.domain.priority import Priority, area_priority
from shared.events.codec import Event
from shared.events.images import ImageOutdated, OutdatedReason
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

OURS = Claim(worker="w", until=after(80))
THEIRS = Claim(worker="other", until=after(80))
OLD, NEW = a_copy(sha256="aa" * 32), a_copy(sha256="bb" * 32)


def outdated(
    photo: str = "a",
    *,
    reason: OutdatedReason = OutdatedReason.MISSING,
    priority: Priority = Priority.ROUTINE,
    at: datetime = NOW,
) -> Event[ImageOutdated]:
    data = ImageOutdated(feed=FEED, listing_key=KEY, image_id=a_photo(photo).id, reason=reason, priority=priority)
    return Event(data=data, id="1", time=at)


def claimable_ids(listing: Listing, *requested: Event[ImageOutdated], unavailable: Sequence[str] = ()) -> list[str]:
    """Return the object ids of the photos that worker w may claim; by default photo `a` is requested."""
    ids = {a_photo(name).id for name in unavailable}
    return [photo.object_id for photo in claimable(listing, requested or [outdated()], "w", ids, NOW)]


@pytest.mark.parametrize(
    ("photo", "is_claimable"),
    [
        (a_photo(), True),
        (a_photo(not_before=after(1)), False),
        (a_photo(not_before=after(-1)), True),
        (lifecycle.release(a_photo(), NOW), True),
        (a_photo(not_before=after(1), forced_at=NOW), True),
        (a_photo(claim=THEIRS, released_at=NOW, not_before=after(80)), False),
        (a_photo(claim=OURS, released_at=NOW, not_before=after(80)), True),
        (a_photo(claim=Claim(worker="other", until=NOW), released_at=after(-80)), True),
        (a_downloaded_photo(), False),
        (a_downloaded_photo(announced_at=after(1)), True),
        (a_downloaded_photo(forced_at=NOW), True),
        (a_photo(failure=Failure(Reason.GONE), not_before=after(86_400)), False),
    ],
)
def test_a_photo_is_claimable_if_it_is_due_and_not_claimed_by_another(photo: Photo, is_claimable: bool) -> None:
    assert claimable_ids(a_listing(photo)) == (["a"] if is_claimable else [])


@pytest.mark.parametrize(
    "listing",
    [
        a_listing(a_photo(), hidden=hidden()),
        a_listing(a_photo(), discards=(a_discard(whole=True),)),
        a_listing(a_photo("b")),
        a_listing(),
    ],
    ids=["hidden", "being removed", "not shown", "no photos"],
)
def test_a_photo_that_its_listing_does_not_show_is_not_claimable(listing: Listing) -> None:
    assert claimable_ids(listing) == []


def test_a_photo_requested_twice_is_returned_once_and_an_unavailable_one_not_at_all() -> None:
    listing = a_listing(a_photo("a"), a_photo("b"), a_photo("c"))
    requested = [outdated("b"), outdated("a"), outdated("b"), outdated("c")]
    assert claimable_ids(listing, *requested, unavailable=["c"]) == ["b", "a"]


def test_the_most_urgent_requested_priority_counts() -> None:
    requested = [outdated(priority=Priority.VIEWED), outdated(priority=Priority.POPULAR)]
    (photo,) = claimable(a_listing(a_photo(priority=Priority.SEARCHED)), requested, "w", (), NOW)
    assert photo.priority is Priority.VIEWED


@pytest.mark.parametrize(
    ("photo", "at", "is_forced"),
    [
        (a_downloaded_photo(), after(1), True),
        (a_downloaded_photo(), after(0), False),
        (a_downloaded_photo(), after(-1), False),
        (a_photo(not_before=after(60)), after(-9), True),
        (a_photo(not_before=after(60), attempted_at=NOW), after(1), True),
        (a_photo(not_before=after(60), attempted_at=NOW), after(0), False),
        # It was attempted since and failed: the same event, delivered again, does not force it anew.
        (a_downloaded_photo(announced_at=after(1), attempted_at=after(5), not_before=after(60)), after(2), False),
    ],
)
def test_a_photo_is_forced_unless_it_was_attempted_since(photo: Photo, at: datetime, is_forced: bool) -> None:
    found = claimable(a_listing(photo), [outdated(reason=OutdatedReason.FORCED, at=at)], "w", (), NOW)
    assert [photo.forced_at for photo in found] == ([at] if is_forced else [])


@pytest.mark.parametrize("reason", [OutdatedReason.MISSING, OutdatedReason.CHANGED, OutdatedReason.RETRY])
def test_only_the_reason_forced_makes_a_downloaded_photo_claimable(reason: OutdatedReason) -> None:
    assert claimable_ids(a_listing(a_downloaded_photo()), outdated(reason=reason, at=after(9))) == []


@pytest.mark.parametrize("released_at", [None, after(-5)])
def test_a_claim_lasts_for_the_request_and_a_margin(released_at: datetime | None) -> None:
    photo = lifecycle.claim(a_photo(released_at=released_at), "w", a_feed(request_timeout_seconds=20.0), NOW)
    assert photo.claim == Claim(worker="w", until=after(80))
    assert (photo.released_at, photo.not_before) == (released_at or NOW, after(80))


def test_only_photos_that_an_earlier_run_claimed_are_abandoned() -> None:
    ours, theirs = a_photo("a", claim=OURS, released_at=NOW, not_before=after(80)), a_photo("b", claim=THEIRS)
    listing = a_listing(ours, theirs, a_photo("c", claim=OURS), a_photo("d"))
    assert abandoned(listing, "w", {a_photo("c").id}, after(5)) == [lifecycle.defer(ours, after(5))]


def claimed(**facts: Any) -> Photo:
    """Return a photo that worker w has claimed."""
    return a_photo(**{"claim": OURS, "released_at": NOW, "not_before": OURS.until, **facts})


def settled(
    outcome: Outcome, photo: Photo | None = None, listing: Listing | None = None, **more: Any
) -> tuple[Settled, Photo | None]:
    """Settle an outcome of a claimed photo; `listing` is its listing as it is now, by default as it was claimed."""
    photo = photo or claimed()
    listing = a_listing(photo) if listing is None else listing
    facts = {"feed": a_feed(), "superseded_for": timedelta(hours=1), "now": after(9), "jitter": 0.0, **more}
    found = settle(listing, photo, outcome, **facts)
    return found, found.listing.photo(photo.id)


def test_after_a_first_copy_the_photo_is_downloaded_and_not_due() -> None:
    before = claimed(attempts=3, failure=Failure(Reason.TIMEOUT), priority=Priority.VIEWED)
    found, photo = settled(Downloaded(NEW), before)
    assert photo is not None
    assert (photo.status, photo.due_at, photo.copy) == (Status.DOWNLOADED, None, NEW)
    assert (photo.attempts, photo.failure, photo.attempted_at) == (0, None, after(9))
    assert (photo.claim, photo.released_at, photo.priority) == (None, None, Priority.ROUTINE)
    assert (found.copy, found.changed, found.listing.discards) == (NEW, True, ())


def test_a_newer_copy_supersedes_the_old_one_which_is_removed_later() -> None:
    found, photo = settled(Downloaded(NEW), claimed(copy=OLD, announced_at=after(1)))
    assert photo is not None
    assert photo.copy == replace(NEW, mls_changed_at=after(1))
    assert found.changed
    (discard,) = found.listing.discards
    assert {*discard.public_keys, *discard.original_keys} == {*copy_keys(OLD)}
    assert (discard.reason, discard.remove_at) == (RemovalReason.SUPERSEDED, after(9 + 3_600))


def test_the_same_bytes_again_change_and_supersede_nothing() -> None:
    found, photo = settled(Downloaded(OLD), claimed(copy=OLD, announced_at=after(1)))
    assert photo is not None
    assert photo.status is Status.DOWNLOADED
    assert (found.changed, found.listing.discards) == (False, ())
    assert found.copy == photo.copy


def test_a_superseded_copy_that_is_stored_again_is_not_removed() -> None:
    listing = a_listing(claimed(copy=NEW), discards=(a_discard(copy=OLD, remove_at=after(60)), a_discard("b")))
    found, _ = settled(Downloaded(OLD), listing.photos[0], listing)
    of_b, superseded = found.listing.discards
    assert of_b == a_discard("b")
    assert {*superseded.public_keys, *superseded.original_keys} == {*copy_keys(NEW)}


def test_a_photo_whose_objects_are_being_deleted_is_attempted_again_a_little_later() -> None:
    listing = a_listing(claimed(), discards=(a_discard(copy=NEW, removing=True),))
    found, photo = settled(Downloaded(NEW), listing.photos[0], listing)
    assert photo is not None
    assert (photo.copy, photo.claim, photo.released_at, photo.due_at) == (None, None, None, after(12))
    assert (found.copy, found.listing.discards) == (None, listing.discards)


@pytest.mark.parametrize(
    ("fetched", "announced", "belongs_to", "status"),
    [
        (NOW, NOW, NOW, Status.DOWNLOADED),
        (NOW, after(5), NOW, Status.OUTDATED),
        (after(5), NOW, NOW, Status.DOWNLOADED),
        (None, None, None, Status.DOWNLOADED),
        (None, NOW, None, Status.OUTDATED),
        (NOW, None, None, Status.DOWNLOADED),
    ],
)
@pytest.mark.parametrize("outcome", [Downloaded(NEW), Unchanged('"v2"', None)])
def test_a_copy_belongs_to_the_version_announced_when_its_fetch_began(
    outcome: Outcome, fetched: datetime | None, announced: datetime | None, belongs_to: datetime | None, status: Status
) -> None:
    before = claimed(announced_at=fetched, copy=OLD)
    found, photo = settled(outcome, before, a_listing(replace(before, announced_at=announced)))
    assert photo is not None
    assert photo.copy is not None
    assert (photo.copy.mls_changed_at, photo.status) == (belongs_to, status)
    assert found.copy == photo.copy
    assert photo.due_at == (after(9) if status is Status.OUTDATED else None)


def test_an_unchanged_copy_gets_the_new_validators() -> None:
    found, photo = settled(Unchanged('"v2"', "Mon"), claimed(copy=OLD, announced_at=after(1)))
    assert photo is not None
    expected = replace(OLD, etag='"v2"', last_modified="Mon", mls_changed_at=after(1), checked_at=after(9))
    assert (photo.copy, photo.status, found.changed) == (expected, Status.DOWNLOADED, False)
    assert found.listing.discards == ()


def test_a_photo_that_changed_by_its_own_time_but_not_at_its_origin_is_asked_for_once_more_later() -> None:
    changed = claimed(copy=OLD, announced_at=after(1), has_own_timestamp=True)
    found, photo = settled(Unchanged('"v1"', None), changed)
    assert photo is not None
    assert (photo.status, photo.due_at) == (Status.DOWNLOADED, after(9 + 90))
    assert claimable(found.listing, [outdated(reason=OutdatedReason.RETRY)], "w", (), after(9 + 50)) == []
    (again,) = claimable(found.listing, [outdated(reason=OutdatedReason.RETRY)], "w", (), after(9 + 90))
    _, settled_again = settled(Unchanged('"v1"', None), lifecycle.claim(again, "w", a_feed(), after(99)), now=after(99))
    assert settled_again is not None
    assert (settled_again.status, settled_again.due_at) == (Status.DOWNLOADED, None)


@pytest.mark.parametrize(
    "facts",
    [
        {"has_own_timestamp": False},
        {"announced_at": NOW},
        {"used_url_key": url_key("https://photos.example.com/a.jpg")},
    ],
    ids=["the listing's time", "a recheck", "a single-use URL"],
)
def test_other_unchanged_photos_are_not_asked_for_again(facts: dict[str, Any]) -> None:
    changed = {"copy": OLD, "announced_at": after(1), "has_own_timestamp": True}
    _, photo = settled(Unchanged('"v1"', None), claimed(**{**changed, **facts}))
    assert photo is not None
    assert photo.due_at is None


@pytest.mark.parametrize("outcome", [Downloaded(NEW), Unchanged(None, None)])
@pytest.mark.parametrize(("forced_since", "forced_after"), [(NOW, None), (after(5), after(5))])
def test_a_success_ends_the_forcing_unless_the_photo_was_forced_again_since(
    outcome: Outcome, forced_since: datetime, forced_after: datetime | None
) -> None:
    before = claimed(copy=OLD, forced_at=NOW)
    _, photo = settled(outcome, before, a_listing(replace(before, forced_at=forced_since)))
    assert photo is not None
    assert photo.forced_at == forced_after
    assert bool(photo.due_at) is bool(forced_after)


@pytest.mark.parametrize(
    ("before", "reason", "attempts", "due_at"),
    [
        (claimed(), Reason.TIMEOUT, 1, 39),
        (claimed(attempts=2), Reason.TIMEOUT, 3, 129),
        (claimed(attempts=5), Reason.TIMEOUT, 6, 86_409),
        (claimed(), Reason.GONE, 1, 86_409),
        (claimed(attempts=6, failure=Failure(Reason.TIMEOUT)), Reason.TIMEOUT, 1, 39),
        (claimed(attempts=1, failure=Failure(Reason.GONE)), Reason.GONE, 1, 86_409),
        (claimed(copy=OLD, announced_at=after(1)), Reason.FORBIDDEN, 1, 39),
    ],
)
def test_a_failed_photo_waits_for_its_next_attempt_and_keeps_its_copy(
    before: Photo, reason: Reason, attempts: int, due_at: float
) -> None:
    failure = Failure(reason, "photos.example.com")
    found, photo = settled(failure, before)
    assert photo is not None
    assert (photo.failure, photo.attempts, photo.attempted_at) == (failure, attempts, after(9))
    assert (photo.due_at, photo.claim, photo.released_at) == (after(due_at), None, None)
    assert photo.copy == before.copy
    assert found == Settled(found.listing)


def test_a_photo_that_failed_while_a_newer_version_was_announced_is_due_at_once() -> None:
    _, photo = settled(Failure(Reason.GONE), claimed(), a_listing(claimed(announced_at=after(1))))
    assert photo is not None
    assert photo.due_at == after(9)


@pytest.mark.parametrize(("reason", "forced_after"), [(Reason.TIMEOUT, NOW), (Reason.GONE, None)])
def test_a_forced_photo_stays_forced_until_it_is_given_up(reason: Reason, forced_after: datetime | None) -> None:
    _, photo = settled(Failure(reason), claimed(copy=OLD, forced_at=NOW))
    assert photo is not None
    assert (photo.forced_at, photo.copy) == (forced_after, OLD)


def test_a_deferred_photo_is_due_at_the_given_time_and_otherwise_unchanged() -> None:
    before = claimed(attempts=2, failure=Failure(Reason.TIMEOUT), attempted_at=NOW)
    found, photo = settled(Deferred(after(33)), before)
    assert photo == lifecycle.defer(before, after(33))
    assert found == Settled(found.listing)


LOST = {
    "withdrawn": a_listing(),
    "gone with its listing": a_listing(hidden=hidden(reason=RemovalReason.OPT_OUT)),
    "taken over": a_listing(claimed(claim=THEIRS)),
    "done by another": a_listing(a_downloaded_photo(copy=OLD)),
    "withdrawn and back": a_listing(a_photo()),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize(
    "outcome", [Unchanged(None, None), Failure(Reason.GONE), Deferred(NOW)], ids=["304", "404", "no"]
)
def test_an_outcome_without_bytes_changes_nothing_if_the_claim_was_lost(name: str, outcome: Outcome) -> None:
    found, _ = settled(outcome, claimed(copy=OLD), LOST[name])
    assert found == Settled(LOST[name])


@pytest.mark.parametrize(
    ("name", "reason", "remove_at"),
    [
        ("withdrawn", RemovalReason.PHOTO_WITHDRAWN, after(9)),
        ("gone with its listing", RemovalReason.OPT_OUT, after(9)),
        ("taken over", RemovalReason.SUPERSEDED, after(9 + 3_600)),
        ("done by another", RemovalReason.SUPERSEDED, after(9 + 3_600)),
        ("withdrawn and back", RemovalReason.SUPERSEDED, after(9 + 3_600)),
    ],
)
def test_objects_stored_under_a_lost_claim_are_removed(name: str, reason: RemovalReason, remove_at: datetime) -> None:
    found, _ = settled(Downloaded(NEW), claimed(), LOST[name])
    assert (found.copy, found.changed, found.listing.photos) == (None, False, LOST[name].photos)
    (orphan,) = found.listing.discards
    assert {*orphan.public_keys, *orphan.original_keys} == {*copy_keys(NEW)}
    assert (orphan.reason, orphan.remove_at, orphan.whole) == (reason, remove_at, False)


@pytest.mark.parametrize("held", [OLD, replace(OLD, etag=None)])
def test_objects_that_another_worker_stored_under_the_same_keys_stay(held: Copy) -> None:
    listing = a_listing(a_downloaded_photo(copy=held))
    found, _ = settled(Downloaded(OLD), claimed(), listing)
    assert found.listing == listing


def test_a_copy_of_a_listing_hidden_meanwhile_is_recorded_and_removed_with_the_others() -> None:
    listing = a_listing(claimed(), hidden=hidden())
    found, photo = settled(Downloaded(NEW), listing.photos[0], listing)
    assert photo is not None
    assert photo.copy == NEW
    assert found.listing.removal_due_at == after(5)


@pytest.mark.parametrize(
    ("areas", "city", "priority"),
    [
        (("Toronto*",), "TORONTO C01", Priority.POPULAR),
        (("Guelph", "Toronto*"), " toronto ", Priority.POPULAR),
        (("Toronto*",), "North Toronto", Priority.ROUTINE),
        (("*Toronto",), "North Toronto", Priority.POPULAR),
        (("St. Jacobs",), "StX Jacobs", Priority.ROUTINE),
        (("*",), "Anywhere", Priority.POPULAR),
        (("*",), None, Priority.ROUTINE),
        ((), "Anywhere", Priority.ROUTINE),
    ],
)
def test_a_star_in_a_popular_area_stands_for_any_text(
    areas: tuple[str, ...], city: str | None, priority: Priority
) -> None:
    assert area_priority(a_feed(popular_areas=areas), city) is priority


@pytest.mark.parametrize(("city", "priority"), [("Toronto", Priority.POPULAR), ("Guelph", Priority.ROUTINE)])
def test_after_a_success_the_photo_has_its_areas_priority(city: str, priority: Priority) -> None:
    before = claimed(priority=Priority.VIEWED)
    feed = a_feed(popular_areas=("Toronto",))
    _, photo = settled(Downloaded(NEW), before, a_listing(before, city=city), feed=feed)
    assert photo is not None
    assert photo.priority is priority
