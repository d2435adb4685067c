"""What does the MLS announce? Tables of fields as MLSs write them, and of rows that are set aside, with the reason."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import announcement
from shared.domain.announcement import MAX_PHOTOS, Announcement, InvalidPropertyRecord
from shared.domain.freshness import Position
from shared.domain.image import url_keys
from shared.domain.listing import RemovalReason
from tests.builders import NOW, Row, a_feed, a_record, a_row, after, stamp, without

GONE, OPT_OUT = RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT


def read(record: Row, **rules: Any) -> Announcement:
    return announcement.read(a_feed(**rules), record)


def shown(record: Row, **rules: Any) -> list[str]:
    return [photo.object_id for photo in read(record, **rules).photos or ()]


def test_each_field_of_a_property_record_is_read() -> None:
    row = a_row("m", MediaObjectID="o", Order=1, ShortDescription="Hall", MediaModificationTimestamp=stamp(3))
    found = announcement.read(a_feed(), a_record(row, at=7), Position(NOW, 2, 9))
    assert (found.feed, found.listing_key, found.standard_status, found.city) == (
        "proptx-idx",
        "X1",
        "Active",
        "Guelph",
    )
    assert (found.version.modified_at, found.version.media_changed_at) == (after(7), after(7))
    assert found.version.position == Position(NOW, 2, 9)
    assert found.photos is not None
    (photo,) = found.photos
    assert (photo.object_id, photo.media_key, photo.caption) == ("o", "m", "Hall")
    assert (photo.url, photo.url_keys) == (row["MediaURL"], url_keys([str(row["MediaURL"])]))
    assert photo.own_changed_at == after(3)
    assert found.set_aside == ()


@pytest.mark.parametrize("key", [None, "", "  ", [], {}, True, 1.5])
def test_a_record_without_a_listing_key_is_invalid(key: object) -> None:
    with pytest.raises(InvalidPropertyRecord, match="ListingKey is missing"):
        read(a_record(ListingKey=key))


def test_a_listing_key_may_be_a_number() -> None:
    assert read(a_record(ListingKey=123)).listing_key == "123"


@pytest.mark.parametrize("media", ["", "none", 0, 1, True, False, {}, {"value": []}])
def test_media_that_is_no_list_is_invalid_and_never_means_no_photos(media: object) -> None:
    with pytest.raises(InvalidPropertyRecord, match="Media must be a list"):
        read(a_record(Media=media))


def test_absent_or_null_media_says_nothing_and_an_empty_list_means_no_photos() -> None:
    assert read(without(a_record(), "Media")).photos is None
    assert read(a_record(Media=None)).photos is None
    assert read(a_record(Media=[])).photos == ()


@pytest.mark.parametrize("name", ["ModificationTimestamp", "MediaChangeTimestamp", "PhotosChangeTimestamp"])
@pytest.mark.parametrize("value", ["yesterday", "", 5, 1.5, True, [], {}, "2026-13-01", "0001-01-01T00:00+14:00"])
def test_a_timestamp_that_cannot_be_read_makes_the_record_invalid(name: str, value: object) -> None:
    record = without(a_record(), "MediaChangeTimestamp") | {name: value}
    with pytest.raises(InvalidPropertyRecord, match=f"{name} is not a timestamp"):
        read(record)


@pytest.mark.parametrize(
    ("fields", "changed_at"),
    [
        ({"MediaChangeTimestamp": stamp(1), "PhotosChangeTimestamp": stamp(2)}, 1),
        ({"MediaChangeTimestamp": None, "PhotosChangeTimestamp": stamp(2)}, 2),
        ({"PhotosChangeTimestamp": stamp(2)}, 2),
        ({"PhotosChangeTimestamp": None}, 4),
        ({}, 4),
        ({"Media": []}, None),
        ({"Media": None}, None),
    ],
)
def test_the_media_timestamp_is_the_first_given_of_three(fields: Row, changed_at: float | None) -> None:
    rows = [a_row(key, MediaModificationTimestamp=stamp(at)) for key, at in (("a", 3), ("b", 4))]
    record = without(a_record(*rows, a_row("c")), "MediaChangeTimestamp") | fields
    assert read(record).version.media_changed_at == (None if changed_at is None else after(changed_at))


@pytest.mark.parametrize(
    ("fields", "hidden_by", "may_be_kept"),
    [
        ({}, None, True),
        ({"StandardStatus": "Active Under Contract"}, None, True),
        ({"StandardStatus": "ActiveUnderContract"}, None, True),
        ({"StandardStatus": " active "}, None, True),
        ({"StandardStatus": None}, None, True),
        ({"StandardStatus": ""}, None, True),
        ({"StandardStatus": "Closed"}, GONE, True),
        ({"StandardStatus": "ActiveX"}, GONE, True),
        ({"MlgCanView": True}, None, True),
        ({"MlgCanView": None}, None, True),
        ({"MlgCanView": False}, GONE, False),
        ({"MlgCanView": "N"}, GONE, False),
        ({"MlgCanView": False, "StandardStatus": "Closed"}, GONE, False),
        ({"InternetEntireListingDisplayYN": True}, None, True),
        ({"InternetEntireListingDisplayYN": None}, None, True),
        ({"InternetEntireListingDisplayYN": False}, OPT_OUT, False),
        ({"InternetEntireListingDisplayYN": "false"}, OPT_OUT, False),
        ({"InternetEntireListingDisplayYN": "0"}, OPT_OUT, False),
        ({"InternetEntireListingDisplayYN": False, "StandardStatus": "Closed"}, OPT_OUT, False),
        ({"InternetEntireListingDisplayYN": False, "MlgCanView": False}, OPT_OUT, False),
    ],
)
def test_status_and_permissions_decide_whether_a_listing_is_hidden(
    fields: Row, hidden_by: RemovalReason | None, may_be_kept: bool
) -> None:
    found = read(a_record(**fields))
    assert (found.hidden_by, found.may_be_kept) == (hidden_by, may_be_kept)


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
        (a_row(MediaModificationTimestamp="soon"), "a", "MediaModificationTimestamp is not a timestamp"),
        (a_row(MediaModificationTimestamp=5), "a", "MediaModificationTimestamp is not a timestamp"),
        (a_row(ImageSizeDescription="LargestNoWatermark"), "a", "size LargestNoWatermark is one of never_sizes"),
        (a_row(ImageSizeDescription="largest no watermark"), "a", "never_sizes"),
        (a_row(Permission=["Private"]), "a", "permission Private is none of permissions"),
        (a_row(Permission=["Private", "Firm Only"]), "a", "permission Private, Firm Only is none"),
        (a_row(Permission="Private,Office"), "a", "permission Private, Office is none"),
        (a_row(MediaStatus="Deleted"), "a", "MediaStatus is Deleted"),
        (a_row(MediaCategory="Document"), "a", "MediaCategory is Document"),
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
        {"MediaCategory": "Photo"},
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
        ({"b": 1, "a": 1, "c": 0}, "c a b"),
        ({"a": None, "b": 5}, "b a"),
        ({"b": None, "a": None}, "a b"),
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
def test_photos_are_sorted_by_order_then_key_and_those_without_order_come_last(orders: Row, expected: str) -> None:
    assert shown(a_record(*(a_row(key, Order=order) for key, order in orders.items()))) == expected.split()


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
    "described", ["https://photos.example.com/small.jpg", "See HTTPS://x and https://photos.example.com/a.jpg!"]
)
def test_a_caption_with_a_url_of_the_photo_is_left_empty(described: str) -> None:
    sizes = [
        a_row("a", MediaObjectID="1", ShortDescription=described),
        a_row("small", MediaObjectID="1", ImageSizeDescription="Small"),
    ]
    assert [photo.caption for photo in read(a_record(*sizes)).photos or ()] == [""]


def test_photos_beyond_the_maximum_are_set_aside() -> None:
    found = read(a_record(*(a_row(f"k{index}", Order=index) for index in range(MAX_PHOTOS + 2))))
    assert len(found.photos or ()) == MAX_PHOTOS
    assert [row.media_key for row in found.set_aside] == [f"k{MAX_PHOTOS}", f"k{MAX_PHOTOS + 1}"]


def test_the_feeds_rules_decide_which_sizes_and_permissions_are_allowed() -> None:
    row = a_row(Permission=["Broker"], ImageSizeDescription="LargestNoWatermark")
    assert shown(a_record(row), never_sizes=(), permissions=("Broker",)) == ["a"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MAYBE_ROW = st.fixed_dictionaries(
    {},
    optional={
        name: ANYTHING | st.sampled_from(["a", "https://p.example.com/a", stamp(1), "Photo"])
        for name in (
            "MediaKey", "MediaURL", "MediaObjectID", "Order", "MediaModificationTimestamp", "MediaCategory",
            "MediaStatus", "ImageSizeDescription", "Permission", "ShortDescription", "LongDescription",
        )
    },
)  # fmt: skip


@given(st.lists(MAYBE_ROW | ANYTHING, max_size=5), st.fixed_dictionaries({}, optional={"StandardStatus": ANYTHING}))
def test_a_record_with_any_rows_is_read(rows: list[object], more: Row) -> None:
    found = read(a_record(*rows, **more))
    photos = found.photos or ()
    assert found.photos is not None or len(found.set_aside) == len(rows) > 0
    assert len(photos) + len(found.set_aside) <= len(rows)
    assert len({photo.object_id for photo in photos}) == len(photos)
    assert bool(photos or found.set_aside) == bool(rows)


@given(st.dictionaries(st.sampled_from([*a_record(), "MlgCanView", "InternetEntireListingDisplayYN"]), ANYTHING))
def test_any_record_is_read_or_invalid(record: Row) -> None:
    with contextlib.suppress(InvalidPropertyRecord):
        assert read(record).listing_key
