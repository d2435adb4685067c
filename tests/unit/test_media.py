"""Which photos do rows of `Media` announce? Tables of rows as MLSs write them, and of those that are set aside."""

from typing import Any

import pytest

from shared.domain import announcement
from shared.domain.announcement import Announcement
from shared.domain.image import Category, url_keys
from shared.domain.media import MAX_PHOTOS
from tests.builders import Row, a_feed, a_record, a_row, stamp, without


def read(record: Row, **rules: Any) -> Announcement:
    return announcement.read(a_feed(**rules), record)


def shown(record: Row, **rules: Any) -> list[str]:
    return [photo.object_id for photo in read(record, **rules).photos or ()]


@pytest.mark.parametrize(
    ("row", "named", "reason"),
    [
        ("a string", "Media[0]", "not an object"),
        (None, "Media[0]", "not an object"),
        ([], "Media[0]", "not an object"),
        (without(a_row(), "MediaKey"), "Media[0]", "MediaKey is missing"),
        (a_row(MediaKey=None), "Media[0]", "MediaKey is missing"),
        (a_row(MediaKey=" "), " ", "MediaKey is missing"),
        (without(a_row(), "MediaURL"), "a", "MediaURL is missing"),
        (a_row(MediaURL=None), "a", "MediaURL is missing"),
        (a_row(MediaURL=""), "a", "MediaURL is missing"),
        (a_row(MediaURL="ftp://photos.example.com/a"), "a", "not an http"),
        (a_row(MediaURL="//photos.example.com/a"), "a", "not an http"),
        (a_row(MediaURL="file:///etc/passwd"), "a", "not an http"),
        (a_row(MediaURL={"href": "x"}), "a", "MediaURL is missing"),
        (a_row(MediaURL="https:///a.jpg"), "a", "no valid host"),
        (a_row(MediaURL="https://photos example.com/a.jpg"), "a", "no valid host"),
        (a_row(MediaURL="https://photos.example.com\n/a.jpg"), "a", "no valid host"),
        (a_row(ImageSizeDescription="LargestNoWatermark"), "a", "size LargestNoWatermark is one of never_sizes"),
        (a_row(ImageSizeDescription="largest no watermark"), "a", "never_sizes"),
        (a_row(Permission=["Private"]), "a", "permission Private is none of permissions"),
        (a_row(Permission=["Private", "Firm Only"]), "a", "permission Private, Firm Only is none"),
        (a_row(Permission="Private,Office"), "a", "permission Private, Office is none"),
        (a_row(MediaStatus="Deleted"), "a", "MediaStatus is Deleted"),
        (a_row(MediaStatus="Rejected"), "a", "MediaStatus is Rejected"),
        (a_row(MediaStatus="Processing"), "a", "MediaStatus is Processing"),
        (a_row(MediaStatus="Half done"), "a", "MediaStatus is Half done"),
        (a_row(MediaCategory="Document"), "a", "MediaCategory is Document"),
        (a_row(MediaCategory="Floor Plan"), "a", "MediaCategory is Floor Plan"),
        (a_row(MediaCategory="Map Website"), "a", "MediaCategory is Map Website"),
        (a_row(MediaCategory="Hologram"), "a", "MediaCategory is Hologram"),
        (a_row(MediaType="pdf"), "a", "MediaType is pdf"),
        (a_row(MediaType="MOV"), "a", "MediaType is MOV"),
        (a_row(MimeType="video/mp4"), "a", "MimeType is video/mp4"),
        (a_row(MediaType="application/pdf", MediaCategory="Photo"), "a", "MediaType is application/pdf"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason_and_other_rows_are_shown(row: object, named: str, reason: str) -> None:
    found = read(a_record(row, a_row("z")))
    assert [photo.object_id for photo in found.photos or ()] == ["z"]
    (row_aside,) = found.set_aside
    assert row_aside.media_key == named
    assert reason in row_aside.reason


@pytest.mark.parametrize(
    "fields",
    [
        {"Permission": None},
        {"Permission": []},
        {"Permission": ""},
        {"Permission": ["Private", "idx"]},
        {"Permission": "Private, Public"},
        {"Permission": [None, 5, "Vow"]},
        {"MediaStatus": None},
        {"MediaStatus": "active"},
        {"MediaCategory": None},
        {"MediaStatus": "Complete"},
        {"MediaStatus": "Valid"},
        {"MediaCategory": "Photo"},
        {"MediaCategory": "Property Photo"},
        {"MediaCategory": "AerialView"},
        {"MediaType": "jpeg"},
        {"MediaType": "image/jpeg"},
        {"MediaType": "application/octet-stream"},
        {"MediaType": "?"},
        {"MediaModificationTimestamp": "soon"},
        {"MediaModificationTimestamp": 5},
        {"MediaModificationTimestamp": ""},
        {"ImageSizeDescription": None},
        {"ImageSizeDescription": "Huge"},
        {"MediaURL": "HTTPS://photos.example.com/a.jpg"},
        {"Order": "first"},
        {"Order": float("nan")},
        {"ShortDescription": 5, "LongDescription": []},
    ],
)
def test_a_row_that_no_rule_forbids_is_shown(fields: Row) -> None:
    assert shown(a_record(a_row("a", **fields))) == ["a"]


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        (["Thumbnail", "Largest", "Small"], "Largest"),
        (["Thumbnail", "Medium", "Large", "Small"], "Large"),
        (["Small", "medium"], "medium"),
        (["LargestNoWatermark", "Thumbnail", "Small"], "Small"),
        (["Poster", "Thumbnail"], "Thumbnail"),
        (["Poster"], "Poster"),
        (["Large", None], None),
        (["Largest", "Largest"], "Largest"),
    ],
)
def test_of_several_sizes_the_largest_allowed_is_taken(sizes: list[str | None], taken: str | None) -> None:
    rows = [
        a_row(f"k{index}", MediaObjectID="o", ImageSizeDescription=size, MediaURL=f"https://p.example.com/{size}")
        for index, size in enumerate(sizes)
    ]
    found = read(a_record(*rows))
    assert found.photos is not None
    (photo,) = found.photos
    assert photo.object_id == "o"
    assert photo.url == f"https://p.example.com/{taken}"
    assert photo.url_keys == url_keys([str(row["MediaURL"]) for row in rows])
    assert found.set_aside == ()


@pytest.mark.parametrize(
    ("stamps", "taken"), [((1, 2), 1), ((2, 1), 0), ((1, 1), 1), ((None, None), 1), ((1, None), 0), ((None, 1), 1)]
)
def test_of_two_rows_of_one_photo_the_newer_is_taken_else_the_later(
    stamps: tuple[float | None, float | None], taken: int
) -> None:
    rows = [
        a_row("a", MediaURL=f"https://p.example.com/{index}", MediaModificationTimestamp=at and stamp(at))
        for index, at in enumerate(stamps)
    ]
    assert [photo.url for photo in read(a_record(*rows)).photos or ()] == [f"https://p.example.com/{taken}"]


def test_a_photo_without_an_allowed_size_is_set_aside_once() -> None:
    rows = [
        a_row("k1", MediaObjectID="o", ImageSizeDescription="LargestNoWatermark"),
        a_row("k2", MediaObjectID="o", Permission=["Private"]),
    ]
    found = read(a_record(*rows))
    assert found.photos == ()
    assert [(row.media_key, row.reason) for row in found.set_aside] == [
        ("k1", "size LargestNoWatermark is one of never_sizes")
    ]


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ({"a": 3, "b": 1, "c": 2}, "b c a"),
        ({"b": 1, "a": 1, "c": 0}, "c b a"),
        ({"9": 0, "10": 0, "11": 0}, "9 10 11"),
        ({"a": None, "b": 5}, "b a"),
        ({"b": None, "a": None}, "b a"),
        ({"a": "10", "b": "9"}, "b a"),
        ({"a": -1, "b": 0}, "a b"),
        ({"a": 1.5, "b": 1}, "b a"),
        ({"a": True, "b": 7}, "b a"),
        ({"a": [], "b": 7}, "b a"),
        ({"a": float("nan"), "b": 7}, "b a"),
        ({"a": "nan", "b": 7}, "b a"),
        ({"a": 10**400, "b": 7}, "b a"),
    ],
)
def test_photos_are_sorted_by_order_then_place_and_those_without_order_come_last(orders: Row, expected: str) -> None:
    assert shown(a_record(*(a_row(key, Order=order) for key, order in orders.items()))) == expected.split()


@pytest.mark.parametrize(
    ("orders", "preferred", "expected"),
    [
        ({"a": None, "b": None, "c": None}, {"c": True}, "c a b"),
        ({"a": 0, "b": 0}, {"b": "Y", "a": "N"}, "b a"),
        ({"a": 0, "b": 1}, {"b": True}, "a b"),
        ({"a": 0, "b": 0}, {"b": "perhaps"}, "a b"),
    ],
)
def test_of_photos_with_equal_order_the_preferred_is_first(orders: Row, preferred: Row, expected: str) -> None:
    rows = (a_row(key, Order=order, PreferredPhotoYN=preferred.get(key)) for key, order in orders.items())
    assert shown(a_record(*rows)) == expected.split()


def test_a_photos_order_is_the_lowest_of_its_allowed_sizes() -> None:
    rows = [
        a_row("a1", MediaObjectID="a", Order=9, ImageSizeDescription="Large"),
        a_row("a2", MediaObjectID="a", Order=1, ImageSizeDescription="Small"),
        a_row("b", Order=5),
    ]
    assert shown(a_record(*rows)) == ["a", "b"]


@pytest.mark.parametrize(
    ("short", "long", "caption"),
    [
        ("Hall", "A hall", "Hall"),
        (None, "A hall", "A hall"),
        ("", "A hall", "A hall"),
        (None, None, ""),
        (5, None, "5"),
    ],
)
def test_the_caption_is_the_short_description_else_the_long_one(short: object, long: object, caption: str) -> None:
    found = read(a_record(a_row(ShortDescription=short, LongDescription=long)))
    assert [photo.caption for photo in found.photos or ()] == [caption]


@pytest.mark.parametrize(
    "described",
    [
        "https://photos.example.com/small.jpg",
        "See HTTPS://x and https://photos.example.com/a.jpg!",
        "https://photos.example.com/of-another-listing.jpg",
        "https://origin.example.org/other.jpg",
        "photos.example.com/a.jpg",
        "//Photos.Example.COM/a.jpg",
        "https%3A%2F%2Fphotos.example.com%2Fa.jpg",
        "https%253A%252F%252Fphotos%252Eexample%252Ecom%252Fa.jpg",
        "https:&#x2F;&#x2F;photos&#46;example.com/a.jpg",
        "https:\\/\\/photos.example.com\\/a.jpg",
        "signed/7d31f0/1920.jpg?sig=kQ9",
        "signed%2F7d31f0%2F1920.jpg%3Fsig%3DkQ9",
    ],
)
def test_a_caption_with_a_url_of_the_mls_is_left_empty(described: str) -> None:
    rows = [
        a_row("a", MediaObjectID="1", ShortDescription=described),
        a_row("small", MediaObjectID="1", ImageSizeDescription="Small"),
        a_row("b", MediaURL="https://origin.example.org/signed/7d31f0/1920.jpg?sig=kQ9"),
    ]
    assert [photo.caption for photo in read(a_record(*rows)).photos or ()] == ["", ""]


@pytest.mark.parametrize(
    "described", ["Hall / dining room", "50% glass", "A & B", "See example.com", "Front: 2.5 baths", "localhost"]
)
def test_a_caption_without_a_url_of_the_mls_stays(described: str) -> None:
    row = a_row(MediaURL="http://localhost:8000/signed/a.jpg", ShortDescription=described)
    assert [photo.caption for photo in read(a_record(row)).photos or ()] == [described]


def test_photos_beyond_the_maximum_are_set_aside() -> None:
    found = read(a_record(*(a_row(f"k{index}", Order=index) for index in range(MAX_PHOTOS + 2))))
    assert len(found.photos or ()) == MAX_PHOTOS
    assert [row.media_key for row in found.set_aside] == [f"k{MAX_PHOTOS}", f"k{MAX_PHOTOS + 1}"]


def test_the_feeds_rules_decide_which_sizes_and_permissions_are_allowed() -> None:
    row = a_row(Permission=["Broker"], ImageSizeDescription="LargestNoWatermark")
    assert shown(a_record(row), never_sizes=(), permissions=("Broker",)) == ["a"]


@pytest.mark.parametrize(
    ("url", "fetched"),
    [
        (" https://p.example.com/a.jpg\n", "https://p.example.com/a.jpg"),
        ("https://p.example.com/front of house 1.jpg", "https://p.example.com/front%20of%20house%201.jpg"),
        ("https://p.example.com/a\tb?q=1 2", "https://p.example.com/a%09b?q=1%202"),
        ("https://p.example.com/50%.jpg", "https://p.example.com/50%.jpg"),
        ("https://p.example.com/\ud83c", "https://p.example.com/%3F"),
    ],
)
def test_a_url_is_cut_and_encoded_and_found_as_it_was_announced(url: str, fetched: str) -> None:
    (photo,) = read(a_record(a_row(MediaURL=url))).photos or ()
    assert photo.url == fetched
    assert photo.url_keys == url_keys([url, fetched])


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"MediaURL": None}, [("b", 1)]),
        ({"MediaURL": " "}, [("b", 1)]),
        ({"MediaURL": "ftp://p.example.com/b.jpg"}, [("b", 1)]),
        ({"MediaStatus": "Processing"}, [("b", 1)]),
        ({"MediaStatus": "Incomplete"}, [("b", 1)]),
        ({"MediaStatus": "Half done"}, [("b", 1)]),
        ({"MediaCategory": "Hologram"}, [("b", 1)]),
        ({"MediaStatus": "Deleted"}, []),
        ({"MediaStatus": "Rejected"}, []),
        ({"MediaCategory": "Document"}, []),
        ({"MediaType": "pdf"}, []),
        ({"Permission": ["Private"], "MediaURL": None}, []),
        ({"MediaStatus": "Deleted", "MediaCategory": "Hologram"}, []),
    ],
)
def test_a_row_that_cannot_be_fetched_now_retains_its_photo(fields: Row, places: list[tuple[str, int]]) -> None:
    found = read(a_record(a_row("a"), a_row("b", **fields), a_row("c")))
    assert [photo.object_id for photo in found.photos or ()] == ["a", "c"]
    assert [(photo.object_id, photo.place) for photo in found.retained] == places
    assert [row.media_key for row in found.set_aside] == ["b"]


def test_a_photo_with_another_row_that_can_be_fetched_is_announced() -> None:
    rows = [
        a_row("k1", MediaObjectID="o", MediaURL=None),
        a_row("k2", MediaObjectID="o", ImageSizeDescription="Small"),
    ]
    found = read(a_record(*rows))
    assert ([photo.media_key for photo in found.photos or ()], found.retained) == (["k2"], ())


def test_rows_of_which_none_has_a_url_say_nothing() -> None:
    found = read(a_record(a_row("a", MediaURL=None), a_row("b", MediaURL="")))
    assert (found.photos, found.retained, len(found.set_aside)) == (None, (), 2)


def test_where_no_row_has_a_media_key_the_object_id_or_the_url_stands_in() -> None:
    bare = [without(a_row(url), "MediaKey") for url in ("a", "b", "a")]
    found = read(a_record(*bare, {**bare[0], "MediaObjectID": 77}))
    ids = [photo.object_id for photo in found.photos or ()]
    assert len(set(ids)) == 4
    assert ids[0].startswith("url-")
    assert ids[2] == f"{ids[0]}-2"
    assert ids[3] == "77"
    assert shown(a_record(*reversed(bare[:2]))) == [ids[1], ids[0]], "the names do not depend on the places"


def test_keys_may_be_numbers() -> None:
    assert shown(a_record(a_row("a", MediaKey=98765432), a_row("b", MediaKey=12.0, MediaObjectID=7))) == [
        "98765432",
        "7",
    ]


PLANS: Row = {"photo_categories": ("Photo", "FloorPlan")}


def test_floor_plans_are_told_apart_where_the_feed_asks_for_them() -> None:
    found = read(a_record(a_row("a"), a_row("b", MediaCategory="Floor Plan")), **PLANS)
    assert [photo.category for photo in found.photos or ()] == [Category.PHOTO, Category.FLOOR_PLAN]
