"""To which listing do records lead that an MLS writes in its own way? Retained photos, renamed photos, floor plans."""

from dataclasses import replace
from typing import Any

import pytest

from shared.domain import keys, lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import NO_RENDERING, REBUILD_WANTED, Category, Copy, Photo, image_id, url_key
from shared.domain.listing import Listing, RemovalReason, copy_keys
from tests.builders import (
    FEED,
    KEY,
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
    hidden,
    only_photo,
    stamp,
    with_copies,
)

A, B, C = (a_row(key, MediaModificationTimestamp=stamp(0)) for key in "abc")
PLANS = a_feed(photo_categories=("Photo", "Floor Plan"))


def then(record: Row, listing: Listing, feed: Feed | None = None) -> Listing:
    """Return the listing after a later event brought the record; as it was if nothing changed."""
    return announced(record, listing, feed=feed, offset=9) or listing


def ids(listing: Listing) -> list[str]:
    return [photo.object_id for photo in listing.photos]


NOT_NOW: list[dict[str, Any]] = [
    {"MediaURL": None},
    {"MediaURL": ""},
    {"MediaURL": "https://photos example.com/b.jpg"},
    {"MediaStatus": "Processing"},
    {"MediaStatus": "Incomplete"},
    {"MediaStatus": "In Review"},
    {"MediaCategory": "Hologram"},
]


@pytest.mark.parametrize("fields", NOT_NOW)
def test_a_photo_that_cannot_be_fetched_now_stays_as_it_is_and_a_new_one_is_kept_out(fields: Row) -> None:
    listing = with_copies(announced(a_record(A, B, C)))
    retained = then(a_record(A, B | fields, C, a_row("new") | fields, at=1), listing)
    assert ids(retained) == ["a", "b", "c"]
    assert not retained.discards
    assert retained.photos[1] == listing.photos[1]
    assert [photo.order for photo in retained.photos] == [0, 1, 2]


def test_a_retained_photo_takes_its_place_in_a_new_order() -> None:
    listing = with_copies(announced(a_record(A, B, C)))
    retained = then(a_record(C | {"Order": 0}, B | {"Order": 1, "MediaURL": None}, A | {"Order": 2}, at=1), listing)
    assert [(photo.object_id, photo.order) for photo in retained.photos] == [("c", 0), ("b", 1), ("a", 2)]


def test_a_retained_photo_is_fetched_once_its_newer_version_is_ready() -> None:
    listing = with_copies(announced(a_record(A, B)))
    newer = B | {"MediaModificationTimestamp": stamp(5)}
    retained = then(a_record(A, newer | {"MediaStatus": "Processing"}, at=5), listing)
    assert not retained.photos[1].is_outdated
    assert then(a_record(A, newer | {"MediaStatus": "Complete"}, at=6), retained).photos[1].is_outdated


@pytest.mark.parametrize("status", ["Deleted", "Rejected"])
def test_a_photo_that_the_mls_took_back_goes(status: str) -> None:
    listing = with_copies(announced(a_record(A, B)))
    gone = then(a_record(A, B | {"MediaStatus": status}, at=1), listing)
    assert (ids(gone), [discard.object_id for discard in gone.discards]) == (["a"], ["b"])


def test_no_rows_beside_a_count_of_photos_change_nothing() -> None:
    listing = with_copies(announced(a_record(A, B)))
    assert ids(then(a_record(at=1, PhotosCount="2"), listing)) == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "shows"),
    [
        ({"PhotosCount": 3}, "a b c"),
        ({"PhotosCount": "3"}, "a b c"),
        ({"PhotosCount": 1}, "a"),
        ({"PhotosCount": "many"}, "a"),
        ({}, "a"),
        ({"PhotosCount": 3, "MediaChangeTimestamp": stamp(1)}, "a"),  # the photos changed: some were withdrawn
        ({"PhotosCount": 3, "MediaChangeTimestamp": None}, "a"),  # the MLS says nothing about a change
    ],
)
def test_photos_of_which_the_mls_cut_off_the_rows_stay(fields: Row, shows: str) -> None:
    listing = with_copies(announced(a_record(A, B, C)))
    cut = then(a_record(A, at=1, **{"MediaChangeTimestamp": stamp(0), **fields}), listing)
    assert (ids(cut), [photo.order for photo in cut.photos]) == (shows.split(), list(range(len(cut.photos))))
    assert [discard.object_id for discard in cut.discards] == [key for key in "abc" if key not in shows]


# Renamed: the keys change, the URLs stay


def renamed(row: Row, key: str, **fields: Any) -> Row:
    return {**row, "MediaKey": key, **fields}


def test_photos_under_new_keys_keep_their_copies_and_are_rebuilt_without_a_request() -> None:
    listing = with_copies(announced(a_record(A, B)))
    after_it = then(a_record(renamed(A, "n1"), renamed(B, "n2"), at=1), listing)
    assert ids(after_it) == ["n1", "n2"]
    assert not after_it.discards
    for photo, former in zip(after_it.photos, listing.photos, strict=True):
        assert photo.id == image_id(FEED, KEY, photo.object_id)
        assert photo.copy
        assert former.copy
        assert copy_keys(photo.copy) == copy_keys(former.copy)
        assert photo.wants_rebuild
        assert after_it.photo_due_at(photo) == NOW
    assert then(a_record(renamed(A, "n1"), renamed(B, "n2"), at=1), after_it) == after_it


def test_the_objects_of_a_renamed_photos_former_copy_stay_as_long_as_superseded_ones() -> None:
    listing = then(a_record(renamed(A, "n1"), at=1), with_copies(announced(a_record(A))))
    photo = only_photo(listing)
    claimed = lifecycle.claim(photo, "w", a_feed(), NOW)
    rebuilt = replace(a_copy("n1"), rendering="12345678")
    settled = lifecycle.settle_downloaded(claimed, claimed, rebuilt, photo.priority, NOW)
    superseded = lifecycle.supersede(listing, settled, NOW, after(60))
    assert photo.copy
    (discard,) = superseded.discards
    assert {*discard.public_keys, *discard.original_keys} == set(copy_keys(photo.copy))
    assert (discard.remove_at, discard.reason, discard.whole) == (after(60), RemovalReason.SUPERSEDED, False)
    assert settled.copy
    assert settled.copy.source_url_key == url_key(photo.url)


@pytest.mark.parametrize(
    ("rows", "shows", "discarded"),
    [
        ([renamed(A, "n1", MediaURL="https://photos.example.com/else.jpg")], "n1", "a"),  # another URL
        ([A, renamed(A, "n1")], "a n1", ""),  # the former key is still announced
        ([renamed(A, "n1"), renamed(A, "n2")], "n1 n2", ""),  # one takes the copy, the other is new
        ([renamed(A, "a2"), A | {"MediaURL": None}], "a2 a", ""),  # the former is retained
    ],
)
def test_only_a_photo_that_is_announced_no_more_is_renamed(rows: list[Row], shows: str, discarded: str) -> None:
    after_it = then(a_record(*rows, at=1), with_copies(announced(a_record(A))))
    assert ids(after_it) == shows.split()
    assert [discard.object_id for discard in after_it.discards] == discarded.split()
    originals = [photo.copy.original_key for photo in after_it.photos if photo.copy]
    assert len(set(originals)) == len(originals)


def test_a_photo_without_a_copy_is_new_under_its_new_key() -> None:
    listing = announced(a_record(A))
    assert listing
    after_it = then(a_record(renamed(A, "n1"), at=1), listing)
    assert (ids(after_it), [discard.object_id for discard in after_it.discards]) == (["n1"], ["a"])


def test_two_photos_that_share_a_url_are_both_renamed() -> None:
    twice = [A, renamed(A, "a2")]
    listing = with_copies(announced(a_record(*twice)))
    after_it = then(a_record(renamed(A, "n1"), renamed(A, "n2"), at=1), listing)
    assert [photo.copy and photo.copy.original_key for photo in after_it.photos] == [
        photo.copy and photo.copy.original_key for photo in listing.photos
    ]


def test_a_renamed_photo_whose_original_is_lost_is_downloaded_again() -> None:
    listing = with_copies(announced(a_record(A)))
    lost = listing.with_photos([lifecycle.lose_original(listing.photos[0], NOW)])
    photo = only_photo(then(a_record(renamed(A, "n1"), at=1), lost))
    assert photo.copy
    assert photo.copy.rendering == NO_RENDERING
    assert photo.due_at == NOW


def test_a_worker_that_ends_its_attempt_under_the_former_name_takes_no_object_of_the_copy() -> None:
    listing = with_copies(announced(a_record(A)))
    claimed = lifecycle.claim(listing.photos[0], "w", a_feed(), NOW)
    after_it = then(a_record(renamed(A, "n1"), at=1), listing.with_photos([claimed]))
    copy = claimed.copy
    assert copy
    assert only_photo(after_it).claim is None
    assert lifecycle.discard_unclaimed(after_it, claimed, copy, NOW) == after_it


# Validators


@pytest.mark.parametrize(("url", "can_recheck"), [(A["MediaURL"], True), ("https://photos.example.com/z.jpg", False)])
def test_a_copy_is_rechecked_only_at_the_url_that_its_validators_came_from(url: str, can_recheck: bool) -> None:
    listing = then(a_record(A | {"MediaURL": url}), with_copies(announced(a_record(A))))
    assert bool(listing.recheckable) is can_recheck
    assert only_photo(listing).can_recheck is can_recheck


def attempted(photo: Photo, copy: Copy) -> Copy:
    claimed = lifecycle.claim(photo, "w", a_feed(), NOW)
    settled = lifecycle.settle_downloaded(claimed, claimed, copy, photo.priority, NOW).copy
    assert settled
    return settled


def test_validators_belong_to_the_url_that_was_fetched_and_a_rebuild_keeps_theirs() -> None:
    other = url_key("https://photos.example.com/other.jpg")
    photo = a_photo("a", copy=a_copy(source_url_key=other, rendering=REBUILD_WANTED))
    assert attempted(photo, a_copy(source_url_key=None)).source_url_key == other
    assert attempted(photo, a_copy(source_url_key=None, etag='"v2"')).source_url_key == url_key(photo.url)
    claimed = lifecycle.claim(photo, "w", a_feed(), NOW)
    unchanged = lifecycle.settle_unchanged(claimed, claimed, '"v2"', None, photo.priority, NOW).copy
    assert unchanged
    assert unchanged.source_url_key == url_key(photo.url)


# Floor plans


@pytest.mark.parametrize(
    ("categories", "shows"),
    [
        (["Floor Plan", "Photo", "Photo"], "b a c"),
        (["Floor Plan", "Floor Plan", "Photo"], "c a b"),
        (["Photo", "Floor Plan", "Photo"], "a b c"),
        (["Floor Plan", "Floor Plan", "Floor Plan"], "a b c"),
    ],
)
def test_a_floor_plan_is_never_the_first_photo(categories: list[str], shows: str) -> None:
    rows = [row | {"MediaCategory": category} for row, category in zip((A, B, C), categories, strict=True)]
    listing = announced(a_record(*rows), feed=PLANS)
    assert listing
    assert ids(listing) == shows.split()
    assert [photo.order for photo in listing.photos] == [0, 1, 2]


def test_a_photo_that_turns_out_to_be_a_floor_plan_changes_its_category() -> None:
    listing = with_copies(announced(a_record(A, B), feed=PLANS))
    after_it = then(a_record(A | {"MediaCategory": "Floor Plan"}, B, at=1), listing, PLANS)
    assert [(photo.object_id, photo.category) for photo in after_it.photos] == [
        ("b", Category.PHOTO),
        ("a", Category.FLOOR_PLAN),
    ]


# Hidden by an unknown word


def test_an_unknown_word_hides_and_keeps_the_copies_until_a_known_word_comes() -> None:
    listing = with_copies(announced(a_record(A)))
    doubtful = then(a_record(A, at=1, InternetEntireListingDisplayYN="Ask"), listing)
    assert doubtful.hidden
    assert doubtful.hidden.reason is RemovalReason.OPT_OUT
    assert lifecycle.begin_removal(doubtful, after(10**9)) == doubtful
    opted_out = then(a_record(A, at=2, InternetEntireListingDisplayYN="N"), doubtful)
    assert opted_out.removal_due_at == after(5)
    assert then(a_record(A, at=2, InternetEntireListingDisplayYN="Y"), doubtful).is_displayed


def test_a_listing_hidden_by_an_unknown_word_is_removed_once_it_is_sold() -> None:
    listing = a_listing(a_photo("a"), hidden=replace(hidden(), reason=RemovalReason.OPT_OUT, remove_at=after(10**9)))
    sold = then(a_record(A, at=1, InternetEntireListingDisplayYN="Ask", StandardStatus="Closed"), listing)
    assert sold.hidden
    assert (sold.hidden.reason, sold.hidden.remove_at) == (RemovalReason.LISTING_INACTIVE, after(5))


def test_keys_of_renamed_objects_begin_with_the_listings_prefix() -> None:
    """An audit and a removal find the objects of a renamed photo all the same."""
    photo = only_photo(then(a_record(renamed(A, "n1"), at=1), with_copies(announced(a_record(A)))))
    assert photo.copy
    assert all(key.startswith(keys.listing_prefix(FEED, KEY)) for key in copy_keys(photo.copy))


def test_the_validators_of_a_refused_file_are_dropped_with_its_url() -> None:
    refused = Failure(Reason.TOO_MANY_PIXELS, "too many", etag='"v1"')
    listing = a_listing(a_photo("a", failure=refused, attempts=1))
    assert only_photo(then(a_record(a_row("a")), listing)).failure == refused
    moved = only_photo(then(a_record(a_row("a", MediaURL="https://photos.example.com/z.jpg")), listing))
    assert moved.failure == Failure(Reason.TOO_MANY_PIXELS, "too many")
