"""To which listing does a series of announcements lead? A table of cases; the newest announcement decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.domain.listing import Listing, RemovalReason
from tests.builders import NOW, Row, a_record, a_row, announced, stamp, with_copies, without

A, B, C = a_row("a"), a_row("b"), a_row("c")
GONE, OPT_OUT = RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT


def own(key: str, at: float, **fields: Any) -> Row:
    """Return a row with a timestamp of its own, `at` seconds after NOW."""
    return a_row(key, MediaModificationTimestamp=stamp(at), **fields)


def size(key: str, photo: str, name: str | None, **fields: Any) -> Row:
    """Return the row of one size of a photo."""
    return a_row(key, MediaObjectID=photo, ImageSizeDescription=name, **fields)


def bare(*rows: object, **fields: Any) -> Row:
    """Return a property record without any timestamp."""
    return a_record(*rows, at=None, **fields)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Property records in the order of their arrival, and the listing after the last.

    All photos are downloaded before the last record arrives.
    """

    records: Sequence[Row]
    shows: str
    """The photos shown at the end, in order."""
    due: str = ""
    """Those of them that want an attempt."""
    discards: str = ""
    """The photos whose objects must go."""
    hidden: RemovalReason | None = None
    set_aside: str = ""
    """The MediaKeys set aside."""
    is_unchanged: bool = False
    """True if the last record changes nothing at all."""
    offsets: Sequence[int] = field(default=(1, 2, 3, 4, 5))
    """The records' offsets on the topic."""


CASES: dict[str, Case] = {
    # The first announcement.
    "first seen": Case(records=[a_record(A, B)], shows="a b", due="a b"),
    "first seen without photos": Case(records=[a_record()], shows=""),
    "first seen, without Media": Case(records=[a_record(Media=None)], shows=""),
    "first seen hidden": Case(records=[a_record(A, StandardStatus="Closed")], shows="a", hidden=GONE),
    "first seen opted out": Case(
        records=[a_record(A, InternetEntireListingDisplayYN=False)], shows="a", hidden=OPT_OUT
    ),
    "first seen without timestamps": Case(records=[bare(A)], shows="a", due="a"),
    # Added, withdrawn, reordered.
    "one is added": Case(records=[a_record(own("a", 0)), a_record(own("a", 0), B, at=1)], shows="a b", due="b"),
    "one is added in front": Case(
        records=[a_record(own("b", 0)), a_record(own("a", 0), own("b", 0), at=1)], shows="a b", due="a"
    ),
    "all are new": Case(records=[a_record(A), a_record(B, C, at=1)], shows="b c", due="b c", discards="a"),
    "one is withdrawn": Case(
        records=[a_record(own("a", 0), own("b", 0)), a_record(own("b", 0), at=1)], shows="b", discards="a"
    ),
    "all are withdrawn": Case(records=[a_record(A, B), a_record(at=1)], shows="", discards="a b"),
    "one is withdrawn and comes back": Case(
        records=[a_record(A), a_record(at=1), a_record(A, at=2)], shows="a", discards="a"
    ),
    "one is swapped for another": Case(
        records=[a_record(own("a", 0)), a_record(own("b", 0), at=1)], shows="b", due="b", discards="a"
    ),
    "two are reordered": Case(
        records=[
            a_record(own("a", 0, Order=0), own("b", 0, Order=1)),
            a_record(own("a", 0, Order=2), own("b", 0, Order=1), at=1),
        ],
        shows="b a",
    ),
    "two are reordered, at equal times": Case(
        records=[
            a_record(own("a", 0, Order=0), own("b", 0, Order=1)),
            a_record(own("a", 0, Order=2), own("b", 0, Order=1)),
        ],
        shows="b a",
    ),
    "rows come in another order, their Order is the same": Case(
        records=[
            a_record(own("a", 0, Order=0), own("b", 0, Order=1)),
            a_record(own("b", 0, Order=1), own("a", 0, Order=0)),
        ],
        shows="a b",
        is_unchanged=True,
    ),
    "orders have other numbers and the same sequence": Case(
        records=[
            a_record(own("a", 0, Order=0), own("b", 0, Order=1)),
            a_record(own("a", 0, Order=10), own("b", 0, Order=20)),
        ],
        shows="a b",
        is_unchanged=True,
    ),
    # Renamed.
    "another MediaKey of the same photo": Case(
        records=[a_record(own("k1", 0, MediaObjectID="a")), a_record(own("k2", 0, MediaObjectID="a"), at=1)], shows="a"
    ),
    "another MediaObjectID is another photo": Case(
        records=[
            a_record(own("k", 0, MediaObjectID="a")),
            a_record(own("k", 0, MediaObjectID="b", MediaURL="https://photos.example.com/b.jpg"), at=1),
        ],
        shows="b",
        due="b",
        discards="a",
    ),
    "a MediaObjectID equal to the MediaKey is the same photo": Case(
        records=[a_record(own("a", 0)), a_record(own("a", 0, MediaObjectID="a"), at=1)], shows="a"
    ),
    "another caption": Case(records=[a_record(A), a_record(a_row("a", ShortDescription="Hall"))], shows="a"),
    # Changed: whose timestamp moved?
    "the photo's own time moved": Case(
        records=[a_record(own("a", 0)), a_record(own("a", 1), at=1)], shows="a", due="a"
    ),
    "the photo's own time moved alone": Case(
        records=[a_record(own("a", 0)), a_record(own("a", 1))], shows="a", due="a"
    ),
    "only one photo's own time moved": Case(
        records=[a_record(own("a", 0), own("b", 0)), a_record(own("a", 0), own("b", 1), at=1)], shows="a b", due="b"
    ),
    "the listing's time moved, the photo's own did not": Case(
        records=[a_record(own("a", 0)), a_record(own("a", 0), at=1)], shows="a"
    ),
    "the listing's time moved and photos have none": Case(
        records=[a_record(A, B), a_record(A, B, at=1)], shows="a b", due="a b"
    ),
    "the listing's time moved, one photo has its own": Case(
        records=[a_record(A, own("b", 0)), a_record(A, own("b", 0), at=1)], shows="a b", due="a"
    ),
    "the listing changed but not its media": Case(
        records=[a_record(A), a_record(A, at=1, MediaChangeTimestamp=stamp(0))], shows="a"
    ),
    "the media changed but not the listing": Case(
        records=[a_record(A), a_record(A, MediaChangeTimestamp=stamp(1))], shows="a", due="a"
    ),
    "PhotosChangeTimestamp stands in": Case(
        records=[
            without(a_record(A, PhotosChangeTimestamp=stamp(0)), "MediaChangeTimestamp"),
            without(a_record(A, PhotosChangeTimestamp=stamp(1)), "MediaChangeTimestamp"),
        ],
        shows="a",
        due="a",
    ),
    "the newest row's time stands in for the photos that have none": Case(
        records=[
            without(a_record(A, own("b", 0)), "MediaChangeTimestamp"),
            without(a_record(A, own("b", 1)), "MediaChangeTimestamp"),
        ],
        shows="a b",
        due="a b",
    ),
    "a photo gets a time of its own, older than the listing's": Case(
        records=[a_record(A, at=5), a_record(own("a", 1), at=6)], shows="a"
    ),
    "a photo gets an older time of its own, then a newer one": Case(
        records=[a_record(A, at=5), a_record(own("a", 1), at=6), a_record(own("a", 2), at=7)], shows="a", due="a"
    ),
    "a photo gets a newer time of its own": Case(
        records=[a_record(A, at=0), a_record(own("a", 1), at=2)], shows="a", due="a"
    ),
    "a photo loses its own time": Case(records=[a_record(own("a", 0)), a_record(A, at=1)], shows="a", due="a"),
    "times differ by a microsecond": Case(
        records=[a_record(own("a", 0)), a_record(own("a", 0.000001), at=1)], shows="a", due="a"
    ),
    "the same time in another zone": Case(
        records=[
            a_record(own("a", 0)),
            a_record(a_row("a", MediaModificationTimestamp="2026-11-23T04:00:00-05:00"), at=1),
        ],
        shows="a",
    ),
    "changed twice": Case(
        records=[a_record(own("a", 0)), a_record(own("a", 1), at=1), a_record(own("a", 2), at=2)], shows="a", due="a"
    ),
    # Re-signed and moved URLs.
    "the URL is signed anew at equal times": Case(
        records=[a_record(A), a_record(a_row("a", MediaURL="https://photos.example.com/a.jpg?sig=2"))], shows="a"
    ),
    "the URL is signed anew, the photo's own time did not move": Case(
        records=[a_record(own("a", 0)), a_record(own("a", 0, MediaURL="https://photos.example.com/2"), at=1)], shows="a"
    ),
    "the URL is signed anew and the photo changed": Case(
        records=[a_record(own("a", 0)), a_record(own("a", 1, MediaURL="https://photos.example.com/2"), at=1)],
        shows="a",
        due="a",
    ),
    "two photos trade URLs at equal times": Case(
        records=[a_record(A, B), a_record(a_row("a", MediaURL=B["MediaURL"]), a_row("b", MediaURL=A["MediaURL"]))],
        shows="a b",
    ),
    # Sizes, duplicates, what is forbidden.
    "several sizes are one photo": Case(
        records=[a_record(size("k1", "a", "Small"), size("k2", "a", "Largest"), size("k3", "a", "Thumbnail"))],
        shows="a",
        due="a",
    ),
    "a larger size appears at equal times": Case(
        records=[a_record(size("k1", "a", "Small")), a_record(size("k1", "a", "Small"), size("k2", "a", "Large"))],
        shows="a",
    ),
    "the largest size is withdrawn, a smaller stays": Case(
        records=[a_record(size("k1", "a", "Small"), size("k2", "a", "Large")), a_record(size("k1", "a", "Small"))],
        shows="a",
    ),
    "the forbidden size is left out, another taken": Case(
        records=[a_record(size("k1", "a", "LargestNoWatermark"), size("k2", "a", "Small"))], shows="a", due="a"
    ),
    "only the forbidden size is there": Case(
        records=[a_record(size("k1", "a", "LargestNoWatermark"), B)], shows="b", due="b", set_aside="k1"
    ),
    "a photo becomes private": Case(
        records=[a_record(A, B), a_record(a_row("a", Permission=["Private"]), B)],
        shows="b",
        discards="a",
        set_aside="a",
    ),
    "a private photo becomes public": Case(
        records=[a_record(a_row("a", Permission=["Private"])), a_record(a_row("a", Permission=["Public"]))],
        shows="a",
        due="a",
    ),
    "a photo is deleted by its status": Case(
        records=[a_record(A, B), a_record(a_row("a", MediaStatus="Deleted"), B)], shows="b", discards="a", set_aside="a"
    ),
    "a photo turns out to be a document": Case(
        records=[a_record(A, B), a_record(a_row("a", MediaCategory="Document"), B)],
        shows="b",
        discards="a",
        set_aside="a",
    ),
    "a photo's URL turns bad": Case(
        records=[a_record(A, B), a_record(a_row("a", MediaURL="gopher://x"), B)], shows="a b", set_aside="a"
    ),
    "a bad row beside good rows": Case(records=[a_record(A, 5, B)], shows="a b", due="a b", set_aside="Media[1]"),
    "no row can be understood": Case(
        records=[a_record(own("a", 0), B), a_record(without(own("a", 1), "MediaURL"), 5, at=1)],
        shows="a b",
        due="b",
        set_aside="a Media[1]",
    ),
    "no row can be understood, nor could any before": Case(
        records=[a_record(5), a_record(5, 6, at=1)], shows="", set_aside="Media[0] Media[1]"
    ),
    "no row may be shown": Case(
        records=[a_record(A), a_record(a_row("a", Permission=["Private"]))], shows="", discards="a", set_aside="a"
    ),
    "a bad row is corrected": Case(records=[a_record(without(A, "MediaURL")), a_record(A, at=1)], shows="a", due="a"),
    "a photo comes twice": Case(records=[a_record(A, A, B)], shows="a b", due="a b"),
    "a photo comes twice from now on": Case(records=[a_record(A), a_record(A, A)], shows="a", is_unchanged=True),
    # Absent, null and empty Media.
    "Media is absent": Case(records=[a_record(own("a", 0)), without(a_record(at=1), "Media")], shows="a"),
    "Media is null": Case(records=[a_record(own("a", 0)), a_record(at=1, Media=None)], shows="a"),
    "Media is null and the media changed": Case(
        records=[a_record(A, own("b", 0)), a_record(at=1, Media=None)], shows="a b", due="a"
    ),
    "Media is null and nothing changed": Case(
        records=[a_record(A), a_record(Media=None)], shows="a", is_unchanged=True
    ),
    "Media is null, rows set aside stay set aside": Case(
        records=[a_record(A, 5), a_record(at=1, Media=None, MediaChangeTimestamp=None)], shows="a", set_aside="Media[1]"
    ),
    "Media is empty": Case(records=[a_record(A, B), a_record(Media=[])], shows="", discards="a b"),
    "Media is empty in a stale event": Case(records=[a_record(A, at=1), a_record(at=0)], shows="a", is_unchanged=True),
    # Hidden, opted out, and back.
    "sold": Case(records=[a_record(A), a_record(A, at=1, StandardStatus="Closed")], shows="a", hidden=GONE),
    "sold, and Media is null": Case(
        records=[a_record(A), a_record(at=1, StandardStatus="Closed", Media=None)], shows="a", hidden=GONE
    ),
    "sold, and Media is empty": Case(
        records=[a_record(A), a_record(at=1, StandardStatus="Closed")], shows="", hidden=GONE, discards="a"
    ),
    "opted out, and without photos": Case(
        records=[a_record(A), a_record(at=1, InternetEntireListingDisplayYN=False)],
        shows="",
        hidden=OPT_OUT,
        discards="a",
    ),
    "may not be viewed": Case(records=[a_record(A), a_record(A, at=1, MlgCanView=False)], shows="a", hidden=GONE),
    "opted out": Case(
        records=[a_record(A), a_record(A, at=1, InternetEntireListingDisplayYN=False)], shows="a", hidden=OPT_OUT
    ),
    "opted out after it was sold": Case(
        records=[
            a_record(A),
            a_record(A, at=1, StandardStatus="Closed"),
            a_record(A, at=2, InternetEntireListingDisplayYN=False),
        ],
        shows="a",
        hidden=OPT_OUT,
    ),
    "sold and back again": Case(
        records=[
            a_record(own("a", 0)),
            a_record(own("a", 0), at=1, StandardStatus="Closed"),
            a_record(own("a", 0), at=2),
        ],
        shows="a",
    ),
    "sold and back again, with a photo more": Case(
        records=[
            a_record(own("a", 0)),
            a_record(own("a", 0), at=1, StandardStatus="Closed"),
            a_record(own("a", 0), own("b", 0), at=2),
        ],
        shows="a b",
        due="b",
    ),
    "sold and back again, without Media": Case(
        records=[
            a_record(own("a", 0)),
            a_record(own("a", 0), at=1, StandardStatus="Closed"),
            a_record(at=2, Media=None),
        ],
        shows="a",
    ),
    "a photo is added while it is hidden": Case(
        records=[a_record(A, StandardStatus="Closed"), a_record(A, B, at=1, StandardStatus="Closed")],
        shows="a b",
        hidden=GONE,
    ),
    "the status is missing": Case(records=[a_record(A), a_record(A, StandardStatus=None)], shows="a"),
    "sold at equal times, later on the topic": Case(
        records=[a_record(A), a_record(A, StandardStatus="Closed")], shows="a", hidden=GONE
    ),
    "sold at equal times, earlier on the topic": Case(
        records=[a_record(A), a_record(A, StandardStatus="Closed")], offsets=[2, 1], shows="a", is_unchanged=True
    ),
    # Which is newer?
    "the same event again": Case(records=[a_record(A), a_record(A)], offsets=[1, 1], shows="a", is_unchanged=True),
    "the same record in another event": Case(records=[a_record(A), a_record(A)], shows="a", is_unchanged=True),
    "a stale event": Case(records=[a_record(A, at=1), a_record(B, at=0)], shows="a", is_unchanged=True),
    "a stale event has it sold": Case(
        records=[a_record(A, at=1), a_record(A, at=0, StandardStatus="Closed")], shows="a", is_unchanged=True
    ),
    "a stale event has it on sale": Case(
        records=[a_record(A, at=1, StandardStatus="Closed"), a_record(A, at=0)],
        shows="a",
        hidden=GONE,
        is_unchanged=True,
    ),
    "stale by the media's time, the listing's is equal": Case(
        records=[a_record(A, MediaChangeTimestamp=stamp(1)), a_record(B)], shows="a", is_unchanged=True
    ),
    "stale by the listing's time, the media's is equal": Case(
        records=[a_record(A, at=1, MediaChangeTimestamp=stamp(0)), a_record(B)], shows="a", is_unchanged=True
    ),
    "newer by one time and older by the other": Case(
        records=[a_record(A, MediaChangeTimestamp=stamp(1)), a_record(A, B, at=1, MediaChangeTimestamp=stamp(0))],
        shows="a b",
        due="b",
    ),
    "stale by its only time": Case(
        records=[a_record(A, at=1), a_record(B, MediaChangeTimestamp=None)], shows="a", is_unchanged=True
    ),
    "at equal times the later on the topic decides": Case(
        records=[a_record(A), a_record(B)], shows="b", due="b", discards="a"
    ),
    "at equal times the earlier on the topic changes nothing": Case(
        records=[a_record(A), a_record(B)], offsets=[2, 1], shows="a", is_unchanged=True
    ),
    "without timestamps the later on the topic decides": Case(
        records=[bare(A), bare(B)], shows="b", due="b", discards="a"
    ),
    "without timestamps the earlier on the topic changes nothing": Case(
        records=[bare(A), bare(B)], offsets=[2, 1], shows="a", is_unchanged=True
    ),
    "a record without timestamps after one with them": Case(
        records=[a_record(A, at=1), bare(B)], shows="b", due="b", discards="a"
    ),
    "a record with timestamps after one without": Case(
        records=[bare(A), a_record(B)], offsets=[2, 1], shows="b", due="b", discards="a"
    ),
    "three announcements, the middle one late": Case(
        records=[a_record(A), a_record(A, B, C, at=2), a_record(A, B, at=1)], shows="a b c", is_unchanged=True
    ),
}


def play(case: Case) -> tuple[Listing, bool]:
    """Announce the case's records; return the listing after the last, and whether that one changed anything."""
    listing: Listing | None = None
    for record, offset in zip(case.records[:-1], case.offsets, strict=False):
        listing = with_copies(announced(record, listing, offset=offset) or listing)
    last = announced(case.records[-1], listing, offset=case.offsets[len(case.records) - 1])
    end = last or listing
    assert end is not None
    return end, last is not None


@pytest.mark.parametrize("name", CASES)
def test_announcements_lead_to_the_listing_of_the_case(name: str) -> None:
    case = CASES[name]
    listing, is_changed = play(case)
    assert [photo.object_id for photo in listing.photos] == case.shows.split()
    assert [photo.order for photo in listing.photos] == list(range(len(listing.photos)))
    assert {photo.object_id for photo in listing.photos if listing.photo_due_at(photo)} == set(case.due.split())
    assert [discard.object_id for discard in listing.discards] == case.discards.split()
    assert all(discard.whole and discard.remove_at == NOW for discard in listing.discards)
    assert all(discard.reason is (case.hidden or RemovalReason.PHOTO_WITHDRAWN) for discard in listing.discards)
    assert (listing.hidden and listing.hidden.reason) == case.hidden
    assert [row.media_key for row in listing.set_aside] == case.set_aside.split()
    assert is_changed is not case.is_unchanged


def test_there_are_at_least_sixty_cases() -> None:
    assert len(CASES) >= 60
