"""Which objects must go, and when? Discards are begun, joined and finished."""

from dataclasses import replace

import pytest

from shared.domain.image import Copy, Photo
from shared.domain.lifecycle import begin_removal, finish_removal, supersede
from shared.domain.listing import Discard, Listing, RemovalReason, copy_keys
from tests.builders import NOW, a_copy, a_discard, a_downloaded_photo, a_listing, a_photo, after, hidden

OLD, NEW = a_copy("a", sha256="aa" * 32), a_copy("a", sha256="bb" * 32)
WITHDRAWN = a_discard("a", copy=NEW, reason=RemovalReason.PHOTO_WITHDRAWN, whole=True)
SUPERSEDED = a_discard("a", copy=OLD, remove_at=after(60))
OF_B = a_discard("b", remove_at=after(60))


def keys_of(discard: Discard) -> set[str]:
    return {*discard.public_keys, *discard.original_keys}


@pytest.mark.parametrize("seconds", [-1, 0])
def test_a_removal_begins_for_due_discards_only(seconds: float) -> None:
    due, later = a_discard("a", remove_at=after(seconds)), a_discard("b", remove_at=after(1))
    begun = begin_removal(a_listing(discards=(due, later)), NOW)
    assert begun.removing == (replace(due, removing=True),)
    assert later in begun.discards


def test_a_hidden_listing_stays_until_its_removal_is_due() -> None:
    listing = a_listing(a_downloaded_photo(), hidden=hidden(remove_at=1))
    assert begin_removal(listing, NOW) == listing


@pytest.mark.parametrize("reason", [RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT])
def test_all_photos_of_a_hidden_listing_are_withdrawn_with_its_reason(reason: RemovalReason) -> None:
    listing = a_listing(a_downloaded_photo("a"), a_photo("b"), hidden=hidden(since=-9, remove_at=0, reason=reason))
    begun = begin_removal(listing, NOW)
    assert begun.photos == ()
    assert begun.hidden == listing.hidden
    assert {discard.object_id for discard in begun.removing} == {"a", "b"}
    for discard in begun.removing:
        assert (discard.reason, discard.since, discard.whole) == (reason, after(-9), True)
    (of_a,) = (discard for discard in begun.removing if discard.object_id == "a")
    assert keys_of(of_a) == {*copy_keys(a_copy("a"))}


def test_discards_of_superseded_copies_join_the_discard_of_the_whole_photo() -> None:
    begun = begin_removal(a_listing(discards=(SUPERSEDED, WITHDRAWN, OF_B)), NOW)
    (discard,) = begun.removing
    assert (discard.reason, discard.whole) == (RemovalReason.PHOTO_WITHDRAWN, True)
    assert keys_of(discard) == {*copy_keys(OLD), *copy_keys(NEW)}
    assert begun.discards == (discard, OF_B)


def test_superseded_copies_go_with_a_hidden_listing() -> None:
    listing = a_listing(a_downloaded_photo("a", copy=NEW), hidden=hidden(remove_at=0), discards=(SUPERSEDED,))
    (discard,) = begin_removal(listing, NOW).removing
    assert keys_of(discard) == {*copy_keys(OLD), *copy_keys(NEW)}


def test_two_discards_of_a_whole_photo_become_one() -> None:
    again = replace(WITHDRAWN, since=after(-1), public_keys=("k",), original_keys=())
    (discard,) = begin_removal(a_listing(discards=(WITHDRAWN, again)), NOW).removing
    assert keys_of(discard) == {*copy_keys(NEW), "k"}
    assert discard.since == WITHDRAWN.since


@pytest.mark.parametrize(
    "listing",
    [
        a_listing(a_downloaded_photo("a"), a_photo("b"), hidden=hidden(remove_at=0), discards=(SUPERSEDED, OF_B)),
        a_listing(a_photo("c"), discards=(SUPERSEDED, WITHDRAWN, OF_B)),
        a_listing(discards=(SUPERSEDED, a_discard("a", copy=NEW))),
        a_listing(),
    ],
)
def test_beginning_a_removal_again_changes_nothing(listing: Listing) -> None:
    begun = begin_removal(listing, NOW)
    again = begin_removal(begun, NOW)
    assert again.photos == begun.photos
    assert sorted(again.discards, key=repr) == sorted(begun.discards, key=repr)


def test_a_begun_removal_goes_on_although_it_was_put_off() -> None:
    begun = a_discard(remove_at=after(60), removing=True)
    assert begin_removal(a_listing(discards=(begun,)), NOW).removing == (begun,)


def test_after_a_finished_removal_a_photo_shown_again_is_due() -> None:
    returned = a_photo("a")
    begun = begin_removal(a_listing(returned, discards=(WITHDRAWN, OF_B)), NOW)
    assert begun.due_at is None
    finished = finish_removal(begun, begun.removing)
    assert finished.discards == (OF_B,)
    assert finished.due_at == returned.not_before


def test_a_discard_added_during_a_removal_stays() -> None:
    begun = begin_removal(a_listing(discards=(WITHDRAWN,)), NOW)
    late = a_discard("a", copy=OLD, reason=RemovalReason.PHOTO_WITHDRAWN)
    finished = finish_removal(replace(begun, discards=(*begun.discards, late)), begun.removing)
    assert finished.discards == (late,)


def superseding(photo: Photo, copy: Copy, *discards: Discard) -> tuple[Discard, ...]:
    """Return the discards of a listing that shows the photo, after the photo got the copy."""
    listing = a_listing(photo, discards=discards)
    after_it = supersede(listing, replace(listing.photos[0], copy=copy), NOW, after(60))
    assert after_it.photos[0].copy == copy
    return after_it.discards


def test_objects_that_a_new_copy_does_not_use_are_superseded() -> None:
    (discard,) = superseding(a_photo(copy=OLD), NEW)
    assert keys_of(discard) == {*copy_keys(OLD)}
    assert (discard.reason, discard.remove_at, discard.whole) == (RemovalReason.SUPERSEDED, after(60), False)
    assert superseding(a_photo(copy=OLD), OLD) == ()
    assert superseding(a_photo(), NEW) == ()


def test_another_rendering_of_the_same_bytes_supersedes_only_the_variants() -> None:
    new = a_copy(variants=a_copy(sha256="bb" * 32).variants)
    (discard,) = superseding(a_photo(copy=a_copy()), new)
    assert discard.original_keys == ()
    assert discard.public_keys == tuple(variant.key for variant in a_copy().variants)
    assert discard.touches(a_copy())
    assert not discard.touches(new)
