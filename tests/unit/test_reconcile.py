"""What follows from a statement of the MLS? A table of stories, and the one law: the newest statement decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import announcement, lifecycle, reconcile
from shared.domain.failures import Failure, Reason
from shared.domain.freshness import Position
from shared.domain.image import Claim, Photo, Status, url_key
from shared.domain.listing import Listing, RemovalReason
from shared.domain.priority import Priority
from tests.builders import (
    NOW,
    Row,
    a_copy,
    a_feed,
    a_photo,
    a_record,
    a_row,
    after,
    announced,
    stamp,
    without,
)

A, B, C = a_row("a"), a_row("b"), a_row("c")
GONE, OPT_OUT = RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT


def own(key: str, at: float, **fields: Any) -> Row:
    """Return a row with a timestamp of its own."""
    return a_row(key, MediaModificationTimestamp=stamp(at), **fields)


def size(key: str, photo: str, name: str | None, **fields: Any) -> Row:
    """Return one size of a photo."""
    return a_row(key, MediaObjectID=photo, ImageSizeDescription=name, **fields)


def bare(*rows: object, **fields: Any) -> Row:
    """Return a record without any timestamp."""
    return a_record(*rows, at=None, **fields)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A story: statements in the order of their arrival, all photos downloaded before the last, and where it ends."""

    said: Sequence[Row]
    shows: str
    """The photos shown at the end, in order."""
    due: str = ""
    """Those of them that want an attempt."""
    discards: str = ""
    """The photos whose objects must go."""
    hidden: RemovalReason | None = None
    aside: str = ""
    """The MediaKeys set aside."""
    nothing: bool = False
    """Whether the last statement changes nothing at all."""
    offsets: Sequence[int] = field(default=(1, 2, 3, 4, 5))
    """Where on the topic the statements stand."""


STORIES: dict[str, Told] = {
    # The first statement.
    "first seen": Told(said=[a_record(A, B)], shows="a b", due="a b"),
    "first seen without photos": Told(said=[a_record()], shows=""),
    "first seen, nothing said of photos": Told(said=[a_record(Media=None)], shows=""),
    "first seen hidden": Told(said=[a_record(A, StandardStatus="Closed")], shows="a", hidden=GONE),
    "first seen opted out": Told(said=[a_record(A, InternetEntireListingDisplayYN=False)], shows="a", hidden=OPT_OUT),
    "first seen without timestamps": Told(said=[bare(A)], shows="a", due="a"),
    # Added, withdrawn, reordered.
    "one is added": Told(said=[a_record(own("a", 0)), a_record(own("a", 0), B, at=1)], shows="a b", due="b"),
    "one is added in front": Told(
        said=[a_record(own("b", 0)), a_record(own("a", 0), own("b", 0), at=1)], shows="a b", due="a"
    ),
    "all are new": Told(said=[a_record(A), a_record(B, C, at=1)], shows="b c", due="b c", discards="a"),
    "one is withdrawn": Told(
        said=[a_record(own("a", 0), own("b", 0)), a_record(own("b", 0), at=1)], shows="b", discards="a"
    ),
    "all are withdrawn": Told(said=[a_record(A, B), a_record(at=1)], shows="", discards="a b"),
    "one is withdrawn and comes back": Told(
        said=[a_record(A), a_record(at=1), a_record(A, at=2)], shows="a", discards="a"
    ),
    "one is swapped for another": Told(
        said=[a_record(own("a", 0)), a_record(own("b", 0), at=1)], shows="b", due="b", discards="a"
    ),
    "two are reordered": Told(
        said=[
            a_record(own("a", 0, Order=0), own("b", 0, Order=1)),
            a_record(own("a", 0, Order=2), own("b", 0, Order=1), at=1),
        ],
        shows="b a",
    ),
    "two are reordered, at equal times": Told(
        said=[
            a_record(own("a", 0, Order=0), own("b", 0, Order=1)),
            a_record(own("a", 0, Order=2), own("b", 0, Order=1)),
        ],
        shows="b a",
    ),
    "rows come in another order, their Order is the same": Told(
        said=[
            a_record(own("a", 0, Order=0), own("b", 0, Order=1)),
            a_record(own("b", 0, Order=1), own("a", 0, Order=0)),
        ],
        shows="a b",
        nothing=True,
    ),
    "orders have other numbers and the same sequence": Told(
        said=[
            a_record(own("a", 0, Order=0), own("b", 0, Order=1)),
            a_record(own("a", 0, Order=10), own("b", 0, Order=20)),
        ],
        shows="a b",
        nothing=True,
    ),
    # Renamed.
    "another MediaKey of the same photo": Told(
        said=[a_record(own("k1", 0, MediaObjectID="a")), a_record(own("k2", 0, MediaObjectID="a"), at=1)], shows="a"
    ),
    "another MediaObjectID is another photo": Told(
        said=[a_record(own("k", 0, MediaObjectID="a")), a_record(own("k", 0, MediaObjectID="b"), at=1)],
        shows="b",
        due="b",
        discards="a",
    ),
    "a MediaObjectID equal to the MediaKey is the same photo": Told(
        said=[a_record(own("a", 0)), a_record(own("a", 0, MediaObjectID="a"), at=1)], shows="a"
    ),
    "another caption": Told(said=[a_record(A), a_record(a_row("a", ShortDescription="Hall"))], shows="a"),
    # Changed: whose timestamp moved?
    "the photo's own time moved": Told(said=[a_record(own("a", 0)), a_record(own("a", 1), at=1)], shows="a", due="a"),
    "the photo's own time moved alone": Told(said=[a_record(own("a", 0)), a_record(own("a", 1))], shows="a", due="a"),
    "only one photo's own time moved": Told(
        said=[a_record(own("a", 0), own("b", 0)), a_record(own("a", 0), own("b", 1), at=1)], shows="a b", due="b"
    ),
    "the listing's time moved, the photo's own did not": Told(
        said=[a_record(own("a", 0)), a_record(own("a", 0), at=1)], shows="a"
    ),
    "the listing's time moved and photos have none": Told(
        said=[a_record(A, B), a_record(A, B, at=1)], shows="a b", due="a b"
    ),
    "the listing's time moved, one photo has its own": Told(
        said=[a_record(A, own("b", 0)), a_record(A, own("b", 0), at=1)], shows="a b", due="a"
    ),
    "the listing changed but not its media": Told(
        said=[a_record(A), a_record(A, at=1, MediaChangeTimestamp=stamp(0))], shows="a"
    ),
    "the media changed but not the listing": Told(
        said=[a_record(A), a_record(A, MediaChangeTimestamp=stamp(1))], shows="a", due="a"
    ),
    "PhotosChangeTimestamp stands in": Told(
        said=[
            without(a_record(A, PhotosChangeTimestamp=stamp(0)), "MediaChangeTimestamp"),
            without(a_record(A, PhotosChangeTimestamp=stamp(1)), "MediaChangeTimestamp"),
        ],
        shows="a",
        due="a",
    ),
    "the newest row's time stands in for the photos that have none": Told(
        said=[
            without(a_record(A, own("b", 0)), "MediaChangeTimestamp"),
            without(a_record(A, own("b", 1)), "MediaChangeTimestamp"),
        ],
        shows="a b",
        due="a b",
    ),
    "a photo gets a time of its own, older than the listing's": Told(
        said=[a_record(A, at=5), a_record(own("a", 1), at=6)], shows="a"
    ),
    "a photo gets an older time of its own, then a newer one": Told(
        said=[a_record(A, at=5), a_record(own("a", 1), at=6), a_record(own("a", 2), at=7)], shows="a", due="a"
    ),
    "a photo gets a newer time of its own": Told(
        said=[a_record(A, at=0), a_record(own("a", 1), at=2)], shows="a", due="a"
    ),
    "a photo loses its own time": Told(said=[a_record(own("a", 0)), a_record(A, at=1)], shows="a", due="a"),
    "times differ by a microsecond": Told(
        said=[a_record(own("a", 0)), a_record(own("a", 0.000001), at=1)], shows="a", due="a"
    ),
    "the same time in another zone": Told(
        said=[
            a_record(own("a", 0)),
            a_record(a_row("a", MediaModificationTimestamp="2026-11-23T04:00:00-05:00"), at=1),
        ],
        shows="a",
    ),
    "changed twice": Told(
        said=[a_record(own("a", 0)), a_record(own("a", 1), at=1), a_record(own("a", 2), at=2)], shows="a", due="a"
    ),
    # Re-signed and moved URLs.
    "the URL is signed anew at equal times": Told(
        said=[a_record(A), a_record(a_row("a", MediaURL="https://photos.example.com/a.jpg?sig=2"))], shows="a"
    ),
    "the URL is signed anew, the photo's own time did not move": Told(
        said=[a_record(own("a", 0)), a_record(own("a", 0, MediaURL="https://photos.example.com/2"), at=1)], shows="a"
    ),
    "the URL is signed anew and the photo changed": Told(
        said=[a_record(own("a", 0)), a_record(own("a", 1, MediaURL="https://photos.example.com/2"), at=1)],
        shows="a",
        due="a",
    ),
    "two photos trade URLs at equal times": Told(
        said=[a_record(A, B), a_record(a_row("a", MediaURL=B["MediaURL"]), a_row("b", MediaURL=A["MediaURL"]))],
        shows="a b",
    ),
    # Sizes, duplicates, what is forbidden.
    "several sizes are one photo": Told(
        said=[a_record(size("k1", "a", "Small"), size("k2", "a", "Largest"), size("k3", "a", "Thumbnail"))],
        shows="a",
        due="a",
    ),
    "a larger size appears at equal times": Told(
        said=[a_record(size("k1", "a", "Small")), a_record(size("k1", "a", "Small"), size("k2", "a", "Large"))],
        shows="a",
    ),
    "the largest size is withdrawn, a smaller stays": Told(
        said=[a_record(size("k1", "a", "Small"), size("k2", "a", "Large")), a_record(size("k1", "a", "Small"))],
        shows="a",
    ),
    "the forbidden size is left out, another taken": Told(
        said=[a_record(size("k1", "a", "LargestNoWatermark"), size("k2", "a", "Small"))], shows="a", due="a"
    ),
    "only the forbidden size is there": Told(
        said=[a_record(size("k1", "a", "LargestNoWatermark"), B)], shows="b", due="b", aside="k1"
    ),
    "a photo becomes private": Told(
        said=[a_record(A, B), a_record(a_row("a", Permission=["Private"]), B)], shows="b", discards="a", aside="a"
    ),
    "a private photo becomes public": Told(
        said=[a_record(a_row("a", Permission=["Private"])), a_record(a_row("a", Permission=["Public"]))],
        shows="a",
        due="a",
    ),
    "a photo is deleted by its status": Told(
        said=[a_record(A, B), a_record(a_row("a", MediaStatus="Deleted"), B)], shows="b", discards="a", aside="a"
    ),
    "a photo turns out to be a document": Told(
        said=[a_record(A, B), a_record(a_row("a", MediaCategory="Document"), B)], shows="b", discards="a", aside="a"
    ),
    "a photo's URL turns bad": Told(
        said=[a_record(A, B), a_record(a_row("a", MediaURL="gopher://x"), B)], shows="b", discards="a", aside="a"
    ),
    "a bad row beside good ones": Told(said=[a_record(A, 5, B)], shows="a b", due="a b", aside="Media[1]"),
    "no row can be understood": Told(
        said=[a_record(own("a", 0), B), a_record(without(own("a", 1), "MediaURL"), 5, at=1)],
        shows="a b",
        due="b",
        aside="a Media[1]",
    ),
    "no row can be understood, nor could any before": Told(
        said=[a_record(5), a_record(5, 6, at=1)], shows="", aside="Media[0] Media[1]"
    ),
    "no row may be shown": Told(
        said=[a_record(A), a_record(a_row("a", Permission=["Private"]))], shows="", discards="a", aside="a"
    ),
    "the bad row is put right": Told(said=[a_record(without(A, "MediaURL")), a_record(A, at=1)], shows="a", due="a"),
    "a photo comes twice": Told(said=[a_record(A, A, B)], shows="a b", due="a b"),
    "a photo comes twice from now on": Told(said=[a_record(A), a_record(A, A)], shows="a", nothing=True),
    # Absent, null and empty Media.
    "Media is absent": Told(said=[a_record(own("a", 0)), without(a_record(at=1), "Media")], shows="a"),
    "Media is null": Told(said=[a_record(own("a", 0)), a_record(at=1, Media=None)], shows="a"),
    "Media is null and the media changed": Told(
        said=[a_record(A, own("b", 0)), a_record(at=1, Media=None)], shows="a b", due="a"
    ),
    "Media is null and nothing changed": Told(said=[a_record(A), a_record(Media=None)], shows="a", nothing=True),
    "Media is null, what was set aside stays so": Told(
        said=[a_record(A, 5), a_record(at=1, Media=None, MediaChangeTimestamp=None)], shows="a", aside="Media[1]"
    ),
    "Media is empty": Told(said=[a_record(A, B), a_record(Media=[])], shows="", discards="a b"),
    "Media is empty in an old event": Told(said=[a_record(A, at=1), a_record(at=0)], shows="a", nothing=True),
    # Hidden, opted out, and back.
    "sold": Told(said=[a_record(A), a_record(A, at=1, StandardStatus="Closed")], shows="a", hidden=GONE),
    "sold, and Media is null": Told(
        said=[a_record(A), a_record(at=1, StandardStatus="Closed", Media=None)], shows="a", hidden=GONE
    ),
    "sold, and Media is empty": Told(
        said=[a_record(A), a_record(at=1, StandardStatus="Closed")], shows="", hidden=GONE, discards="a"
    ),
    "opted out, and without photos": Told(
        said=[a_record(A), a_record(at=1, InternetEntireListingDisplayYN=False)], shows="", hidden=OPT_OUT, discards="a"
    ),
    "may not be viewed": Told(said=[a_record(A), a_record(A, at=1, MlgCanView=False)], shows="a", hidden=GONE),
    "opted out": Told(
        said=[a_record(A), a_record(A, at=1, InternetEntireListingDisplayYN=False)], shows="a", hidden=OPT_OUT
    ),
    "opted out after it was sold": Told(
        said=[
            a_record(A),
            a_record(A, at=1, StandardStatus="Closed"),
            a_record(A, at=2, InternetEntireListingDisplayYN=False),
        ],
        shows="a",
        hidden=OPT_OUT,
    ),
    "sold and back again": Told(
        said=[
            a_record(own("a", 0)),
            a_record(own("a", 0), at=1, StandardStatus="Closed"),
            a_record(own("a", 0), at=2),
        ],
        shows="a",
    ),
    "sold and back again, with a photo more": Told(
        said=[
            a_record(own("a", 0)),
            a_record(own("a", 0), at=1, StandardStatus="Closed"),
            a_record(own("a", 0), own("b", 0), at=2),
        ],
        shows="a b",
        due="b",
    ),
    "sold and back again without a word of photos": Told(
        said=[
            a_record(own("a", 0)),
            a_record(own("a", 0), at=1, StandardStatus="Closed"),
            a_record(at=2, Media=None),
        ],
        shows="a",
    ),
    "a photo is added while it is hidden": Told(
        said=[a_record(A, StandardStatus="Closed"), a_record(A, B, at=1, StandardStatus="Closed")],
        shows="a b",
        hidden=GONE,
    ),
    "the status is missing": Told(said=[a_record(A), a_record(A, StandardStatus=None)], shows="a"),
    "sold at equal times, later on the topic": Told(
        said=[a_record(A), a_record(A, StandardStatus="Closed")], shows="a", hidden=GONE
    ),
    "sold at equal times, earlier on the topic": Told(
        said=[a_record(A), a_record(A, StandardStatus="Closed")], offsets=[2, 1], shows="a", nothing=True
    ),
    # Which is newer?
    "the same event again": Told(said=[a_record(A), a_record(A)], offsets=[1, 1], shows="a", nothing=True),
    "the same statement in another event": Told(said=[a_record(A), a_record(A)], shows="a", nothing=True),
    "an old event": Told(said=[a_record(A, at=1), a_record(B, at=0)], shows="a", nothing=True),
    "an old event says that it was sold": Told(
        said=[a_record(A, at=1), a_record(A, at=0, StandardStatus="Closed")], shows="a", nothing=True
    ),
    "an old event says that it was on sale": Told(
        said=[a_record(A, at=1, StandardStatus="Closed"), a_record(A, at=0)], shows="a", hidden=GONE, nothing=True
    ),
    "old by the media's time, the listing's is equal": Told(
        said=[a_record(A, MediaChangeTimestamp=stamp(1)), a_record(B)], shows="a", nothing=True
    ),
    "old by the listing's time, the media's is equal": Told(
        said=[a_record(A, at=1, MediaChangeTimestamp=stamp(0)), a_record(B)], shows="a", nothing=True
    ),
    "newer by one time and older by the other": Told(
        said=[a_record(A, MediaChangeTimestamp=stamp(1)), a_record(A, B, at=1, MediaChangeTimestamp=stamp(0))],
        shows="a b",
        due="b",
    ),
    "old by its only time": Told(
        said=[a_record(A, at=1), a_record(B, MediaChangeTimestamp=None)], shows="a", nothing=True
    ),
    "at equal times the later on the topic decides": Told(
        said=[a_record(A), a_record(B)], shows="b", due="b", discards="a"
    ),
    "at equal times the earlier on the topic changes nothing": Told(
        said=[a_record(A), a_record(B)], offsets=[2, 1], shows="a", nothing=True
    ),
    "without timestamps the later on the topic decides": Told(
        said=[bare(A), bare(B)], shows="b", due="b", discards="a"
    ),
    "without timestamps the earlier on the topic changes nothing": Told(
        said=[bare(A), bare(B)], offsets=[2, 1], shows="a", nothing=True
    ),
    "one without timestamps is applied to one with them": Told(
        said=[a_record(A, at=1), bare(B)], shows="b", due="b", discards="a"
    ),
    "one with timestamps is applied to one without": Told(
        said=[bare(A), a_record(B)], offsets=[2, 1], shows="b", due="b", discards="a"
    ),
    "three statements, the middle one late": Told(
        said=[a_record(A), a_record(A, B, C, at=2), a_record(A, B, at=1)], shows="a b c", nothing=True
    ),
}


def told(story: Told) -> tuple[Listing, bool]:
    """Return where a story ends, and whether the last statement changed anything."""
    listing: Listing | None = None
    for record, offset in zip(story.said[:-1], story.offsets, strict=False):
        listing = _downloaded(announced(record, listing, offset=offset) or listing)
    last = announced(story.said[-1], listing, offset=story.offsets[len(story.said) - 1])
    end = last or listing
    assert end is not None
    return end, last is not None


def _downloaded(listing: Listing | None) -> Listing:
    """Return the listing with a copy of every photo's newest version."""
    assert listing is not None
    held = [replace(one, copy=a_copy(one.object_id, mls_changed_at=one.announced_at)) for one in listing.photos]
    return listing.with_photos(held)


@pytest.mark.parametrize("name", STORIES)
def test_the_story(name: str) -> None:
    story = STORIES[name]
    listing, changed = told(story)
    assert [photo.object_id for photo in listing.photos] == story.shows.split()
    assert [photo.order for photo in listing.photos] == list(range(len(listing.photos)))
    assert {photo.object_id for photo in listing.photos if listing.photo_due_at(photo)} == set(story.due.split())
    assert [discard.object_id for discard in listing.discards] == story.discards.split()
    assert all(discard.whole and discard.remove_at == NOW for discard in listing.discards)
    assert all(discard.reason is (story.hidden or RemovalReason.PHOTO_WITHDRAWN) for discard in listing.discards)
    assert (listing.hidden and listing.hidden.reason) == story.hidden
    assert [one.media_key for one in listing.set_aside] == story.aside.split()
    assert changed is not story.nothing


def test_there_are_enough_stories() -> None:
    assert len(STORIES) >= 60


def the_photo(listing: Listing | None) -> Photo:
    assert listing is not None
    (photo,) = listing.photos
    return photo


def test_a_new_photo_is_due_at_once_by_its_listings_time_or_its_own() -> None:
    plain, with_own = (the_photo(announced(a_record(row, at=3), now=after(9))) for row in (A, own("a", 1)))
    assert (plain.announced_at, plain.has_own_timestamp, plain.not_before) == (after(3), False, after(9))
    assert (with_own.announced_at, with_own.has_own_timestamp, with_own.not_before) == (after(1), True, after(9))
    assert plain.status is Status.PENDING


def test_a_url_signed_anew_is_fetched_and_resolved_by_from_now_on() -> None:
    first = announced(a_record(A))
    photo = the_photo(announced(a_record(a_row("a", MediaURL="https://photos.example.com/2")), first, offset=1))
    assert photo.url == "https://photos.example.com/2"
    assert photo.url_keys == (url_key(photo.url),)


def test_a_copy_stays_and_is_outdated_until_the_newer_version_is_there() -> None:
    first = _downloaded(announced(a_record(A)))
    photo = the_photo(announced(a_record(A, at=1), first))
    assert photo.copy == the_photo(first).copy
    assert photo.status is Status.OUTDATED


def test_a_copy_belongs_to_the_older_time_that_its_photo_was_given_since() -> None:
    held = _downloaded(announced(a_record(A, at=5)))
    restated = announced(a_record(own("a", 1), at=6), held)
    photo = the_photo(restated)
    assert photo.copy is not None
    assert (photo.copy.mls_changed_at, photo.status) == (after(1), Status.DOWNLOADED)
    assert the_photo(announced(a_record(own("a", 2), at=7), restated)).status is Status.OUTDATED


def test_an_outdated_copy_stays_outdated_where_its_photo_is_given_an_older_time() -> None:
    outdated = announced(a_record(A, at=5), _downloaded(announced(a_record(A))))
    assert the_photo(announced(a_record(own("a", 1), at=6), outdated)).status is Status.OUTDATED


def test_something_newer_ends_every_wait_and_gives_all_attempts_back() -> None:
    first = announced(a_record(A))
    failed = replace(
        the_photo(first), attempts=6, failure=Failure(Reason.GONE), attempted_at=NOW, not_before=after(86_400)
    )
    assert first is not None
    photo = the_photo(announced(a_record(A, at=1), first.with_photos([failed]), now=after(60)))
    assert (photo.attempts, photo.failure, photo.not_before) == (0, None, after(60))


@pytest.mark.parametrize(
    "facts",
    [{"released_at": NOW}, {"claim": Claim(worker="w", until=after(80))}],
    ids=["released", "claimed"],
)
def test_something_newer_leaves_a_photo_in_work_to_who_has_it(facts: dict[str, object]) -> None:
    first = announced(a_record(A))
    assert first is not None
    in_work = replace(the_photo(first), not_before=after(80), **facts)  # type: ignore[arg-type]
    photo = the_photo(announced(a_record(A, at=1), first.with_photos([in_work]), now=after(60)))
    assert photo.not_before == after(80)
    assert (photo.released_at, photo.claim) == (in_work.released_at, in_work.claim)
    assert photo.announced_at == after(1)


def test_the_same_again_leaves_a_failed_photo_to_wait() -> None:
    first = announced(a_record(A))
    assert first is not None
    failed = replace(the_photo(first), attempts=2, failure=Failure(Reason.TIMEOUT), not_before=after(60))
    photo = the_photo(
        announced(a_record(a_row("a", Order=7, ShortDescription="Hall")), first.with_photos([failed]), offset=1)
    )
    assert (photo.attempts, photo.failure, photo.not_before) == (2, failed.failure, after(60))


def test_a_withdrawn_photos_objects_are_named_in_what_must_go() -> None:
    first = _downloaded(announced(a_record(A)))
    second = announced(a_record(at=1), first, now=after(9))
    assert second is not None
    (discard,) = second.discards
    held = a_copy("a")
    assert discard.public_keys == tuple(variant.key for variant in held.variants)
    assert discard.original_keys == (held.original_key,)
    assert (discard.image_id, discard.since) == (the_photo(first).id, after(9))


def test_a_photo_that_comes_back_waits_until_its_objects_are_gone() -> None:
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


def test_an_opt_out_ends_the_time_that_a_sold_listing_may_be_kept() -> None:
    vow = a_feed(keep_after_inactive_hours=24.0)
    sold = announced(a_record(A, StandardStatus="Closed"), feed=vow)
    listing = announced(a_record(A, at=1, InternetEntireListingDisplayYN=False), sold, feed=vow, now=after(600))
    assert listing is not None
    assert listing.hidden is not None
    assert (listing.hidden.since, listing.hidden.remove_at) == (NOW, after(5))


def test_a_listing_stays_hidden_since_it_was_first_hidden() -> None:
    sold = announced(a_record(A, StandardStatus="Closed"))
    again = announced(a_record(A, at=1, StandardStatus="Expired"), sold, now=after(600))
    assert again is not None
    assert again.hidden is not None
    assert (again.hidden.since, again.hidden.remove_at) == (NOW, after(5))


@pytest.mark.parametrize(
    ("in_work", "is_due"),
    [
        ({"released_at": NOW, "not_before": after(120)}, True),
        ({"released_at": NOW, "not_before": after(80), "claim": Claim(worker="w", until=after(80))}, False),
        ({"not_before": after(60), "failure": Failure(Reason.TIMEOUT), "attempts": 1}, False),
    ],
    ids=["released", "claimed", "failed"],
)
def test_what_may_have_been_passed_over_while_its_listing_was_hidden_is_due_when_it_is_shown_again(
    in_work: dict[str, Any], is_due: bool
) -> None:
    first = announced(a_record(own("a", 0)))
    photo = replace(the_photo(first), **in_work)
    assert first is not None
    hidden = announced(a_record(own("a", 0), at=1, StandardStatus="Closed"), first.with_photos([photo]), now=after(1))
    assert the_photo(hidden).not_before == photo.not_before
    shown = the_photo(announced(a_record(own("a", 0), at=2), hidden, now=after(2)))
    assert shown == (lifecycle.defer(photo, after(2)) if is_due else photo)


def test_what_was_removed_of_a_hidden_listing_is_not_recorded_anew_when_it_is_said_again() -> None:
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
def test_photos_of_popular_areas_come_before_the_rest(city: str | None, priority: Priority) -> None:
    assert the_photo(announced(a_record(A, City=city), feed=a_feed(popular_areas=("Toronto",)))).priority is priority


def test_a_record_without_a_city_leaves_the_city_and_a_more_urgent_photo_stays_so() -> None:
    popular = a_feed(popular_areas=("Toronto",))
    first = announced(a_record(A, City="Toronto"), feed=popular)
    assert first is not None
    viewed = first.with_photos([replace(the_photo(first), priority=Priority.VIEWED)])
    second = announced(a_record(A, at=1, City=None), viewed, feed=popular)
    assert second is not None
    assert second.city == "Toronto"
    assert the_photo(second).priority is Priority.VIEWED


def test_the_listing_was_seen_when_it_was_written() -> None:
    first = announced(a_record(A), now=after(1))
    second = announced(a_record(A, at=1), first, now=after(2))
    assert first is not None
    assert second is not None
    assert (first.seen_at, second.seen_at) == (after(1), after(2))
    assert announced(a_record(A, at=1), second, now=after(3)) is None


@dataclass(frozen=True)
class Statement:
    """One event of a listing's life: a record and its place on the topic."""

    record: Row
    position: Position


PHOTOS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(0, 3),
        st.sampled_from(["", "Hall"]),
        st.sampled_from(["https://p.example.com/1", "https://p.example.com/2"]),
        st.sampled_from([None, ["Private"]]),
    ),
    max_size=4,
)
STEPS = st.lists(
    st.tuples(PHOTOS, st.sampled_from(["Active", "Closed"]), st.integers(0, 1), st.integers(0, 1)),
    min_size=1,
    max_size=5,
)


@st.composite
def lives(draw: st.DrawFn) -> list[Statement]:
    """Draw what an MLS says of one listing in the course of time: its clocks never go back, but may stand still."""
    have_times, have_own = draw(st.booleans()), draw(st.booleans())
    modified = media = 0
    life: list[Statement] = []
    for offset, (photos, status, more_modified, more_media) in enumerate(draw(STEPS)):
        modified, media = modified + more_modified, media + more_media
        rows = [
            a_row(
                key, Order=order, ShortDescription=caption, MediaURL=url, Permission=permission,
                **({"MediaModificationTimestamp": stamp(media)} if have_own else {}),
            )
            for key, order, caption, url, permission in photos
        ]  # fmt: skip
        # No statement repeats another word for word.
        record = bare(*rows, StandardStatus=status, City=f"City {offset}")
        if have_times:
            record |= {"ModificationTimestamp": stamp(modified), "MediaChangeTimestamp": stamp(media)}
        elif have_own:
            record["Media"] = [without(row, "MediaModificationTimestamp") for row in rows]
        life.append(Statement(record, Position(NOW, 0, offset)))
    return life


@st.composite
def lives_and_arrivals(draw: st.DrawFn) -> tuple[list[Statement], list[Statement]]:
    """Draw a life, and its statements doubled, shuffled and some of them replayed."""
    life = draw(lives())
    doubled = draw(st.permutations([*life, *draw(st.lists(st.sampled_from(life), max_size=5))]))
    return life, [*doubled, *draw(st.lists(st.sampled_from(life), max_size=5))]


def facts(listing: Listing | None) -> object:
    """Return what the MLS decides of a listing, without what we made of it and when."""
    assert listing is not None
    photos = [
        (one.object_id, one.media_key, one.url, one.url_keys, one.order, one.caption, one.announced_at)
        for one in listing.photos
    ]
    hidden_by = listing.hidden and listing.hidden.reason
    return listing.version, listing.standard_status, listing.city, hidden_by, photos, listing.set_aside


def lived(statements: Sequence[Statement], *, downloads: bool = False) -> Listing | None:
    listing: Listing | None = None
    for one in statements:
        said = announcement.read(a_feed(), one.record, one.position)
        listing = reconcile.apply(listing, said, a_feed(), NOW) or listing
        if downloads:
            listing = _downloaded(listing)
    return listing


@settings(max_examples=150, deadline=None)
@given(lives_and_arrivals())
def test_any_events_doubled_shuffled_and_replayed_end_in_the_state_of_the_newest(
    life_and_arrivals: tuple[list[Statement], list[Statement]],
) -> None:
    life, arrivals = life_and_arrivals
    assert facts(lived(arrivals)) == facts(lived(life)) == facts(lived(life[-1:]))


@settings(max_examples=100, deadline=None)
@given(lives_and_arrivals())
def test_a_replay_makes_nothing_due(life_and_arrivals: tuple[list[Statement], list[Statement]]) -> None:
    life, arrivals = life_and_arrivals
    held = lived(life, downloads=True)
    for one in arrivals:
        assert reconcile.apply(held, announcement.read(a_feed(), one.record, one.position), a_feed(), NOW) is None


@settings(max_examples=100, deadline=None)
@given(lives_and_arrivals())
def test_no_photo_is_shown_twice_and_none_is_lost_unremoved(
    life_and_arrivals: tuple[list[Statement], list[Statement]],
) -> None:
    listing: Listing | None = None
    ever: set[str] = set()
    for one in life_and_arrivals[1]:
        said = announcement.read(a_feed(), one.record, one.position)
        listing = reconcile.apply(listing, said, a_feed(), NOW) or listing
        assert listing is not None
        ids = [photo.id for photo in listing.photos]
        ever |= set(ids)
        assert len(set(ids)) == len(ids)
        assert ever == set(ids) | {discard.image_id for discard in listing.discards}


def test_a_photo_of_another_listing_or_feed_is_another_image() -> None:
    assert len({a_photo("a").id, a_photo("a", key="X2").id, a_photo("a", feed="other").id, a_photo("b").id}) == 4


def caused(known: Listing | None, record: Row, event_id: str) -> Listing:
    said = announcement.read(a_feed(), record, event_id=event_id)
    after = reconcile.apply(known, said, a_feed(), NOW)
    assert after is not None
    return after


def test_a_photo_remembers_the_event_that_announced_its_newest_version() -> None:
    own = {"MediaModificationTimestamp": stamp(0)}
    first = caused(None, a_record(a_row("a", **own), a_row("b", **own)), "first")
    assert [photo.cause for photo in first.photos] == ["first", "first"]
    newer = {"MediaModificationTimestamp": stamp(9)}
    second = caused(first, a_record(a_row("b", **newer), a_row("c", **own), a_row("a", **own), at=9), "second")
    assert {photo.object_id: photo.cause for photo in second.photos} == {"a": "first", "b": "second", "c": "second"}
    touched = caused(second, without(a_record(at=10), "Media"), "third")
    assert {photo.object_id: photo.cause for photo in touched.photos} == {"a": "first", "b": "second", "c": "second"}


def test_only_a_listing_that_was_displayed_has_left_the_market() -> None:
    never = announced(a_record(A, StandardStatus="Closed"))
    shown = announced(a_record(A))
    left = announced(a_record(A, at=60, StandardStatus="Closed"), shown, now=after(65))
    still = announced(a_record(A, at=90, StandardStatus="Expired"), left, now=after(95))
    assert never and never.hidden and left and left.hidden and still and still.hidden  # noqa: PT018 - for the types
    assert not never.hidden.was_displayed
    for one in (left.hidden, still.hidden):
        assert (one.was_displayed, one.since, one.off_market_at) == (True, after(65), after(60))


def test_a_withdrawn_photo_knows_when_by_the_mls_it_went() -> None:
    left = announced(a_record(B, at=60), announced(a_record(A, B)), now=after(65))
    assert left
    assert [(one.object_id, one.since, one.off_market_at) for one in left.discards] == [("a", after(65), after(60))]


def test_a_photo_that_is_withdrawn_of_a_hidden_listing_was_not_shown_since_that_was_hidden() -> None:
    left = announced(a_record(A, B, at=60, StandardStatus="Closed"), announced(a_record(A, B)), now=after(65))
    fewer = announced(a_record(B, at=90, StandardStatus="Closed"), left, now=after(95))
    assert fewer
    (gone,) = fewer.discards
    assert (gone.since, gone.off_market_at, gone.unshown_at) == (after(65), after(60), after(95))


def test_a_photo_that_is_withdrawn_while_its_hidden_listings_copies_are_kept_goes_for_that() -> None:
    feed = a_feed(keep_after_inactive_hours=1)
    left = reconcile.apply(
        announced(a_record(A, B)), announcement.read(feed, a_record(B, StandardStatus="Closed")), feed, NOW
    )
    assert left
    assert [(one.object_id, one.reason) for one in left.discards] == [("a", RemovalReason.PHOTO_WITHDRAWN)]


def test_a_listing_that_stays_hidden_after_its_photos_went_learns_of_none() -> None:
    gone = announced(a_record(A, StandardStatus="Closed"))
    assert gone
    removed = replace(gone, photos=())
    assert announced(a_record(A, StandardStatus="Closed"), removed, offset=1, now=after(6)) is None
    kept = announced(a_record(A, StandardStatus="Closed"), removed, offset=1, now=after(4))
    assert kept
    assert len(kept.photos) == 1, "until then it may come right back"
    back = announced(a_record(A), removed, offset=1, now=after(6))
    assert back
    assert (back.is_displayed, len(back.photos)) == (True, 1)
