"""What does the MLS announce? Tables of fields as MLSs write them, and of rows that are set aside, with the reason."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import announcement
from shared.domain.announcement import Announcement, InvalidPropertyRecord, RemovalTime
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


def test_a_category_may_be_written_as_spark_writes_words_with_spaces() -> None:
    assert shown(a_record(a_row("a", MediaCategory="b__TGlzdGluZyBQaG90bw"))) == ["a"]
    assert shown(a_record(a_row("a", MediaCategory="b__?"), a_row("b"))) == ["b"]


def test_a_listing_key_may_be_a_number() -> None:
    assert read(a_record(ListingKey=123)).listing_key == "123"


@pytest.mark.parametrize("media", ["", "none", 0, 1, True, False, {}, {"value": []}, {"a": 1, "b": 2}, {"value": "a"}])
def test_media_without_rows_is_invalid_and_never_means_no_photos(media: object) -> None:
    with pytest.raises(InvalidPropertyRecord, match="Media must be a list"):
        read(a_record(Media=media))


@pytest.mark.parametrize(
    ("media", "keys"),
    [
        (a_row("a"), ["a"]),
        ({"Photo": [a_row("a"), a_row("b")]}, ["a", "b"]),
        ({"value": a_row("a")}, ["a"]),
    ],
)
def test_media_that_is_one_row_or_holds_rows_is_a_list_of_them(media: object, keys: list[str]) -> None:
    assert shown(a_record(Media=media)) == keys


@pytest.mark.parametrize("count", [2, "2", " 2 ", 2.0])
def test_no_rows_beside_a_count_of_photos_say_nothing(count: object) -> None:
    assert read(a_record(PhotosCount=count)).photos is None


@pytest.mark.parametrize("count", [0, "0", None, "", "many", -1, True, [2]])
def test_no_rows_without_a_count_of_photos_mean_no_photos(count: object) -> None:
    assert read(a_record(PhotosCount=count)).photos == ()


def test_absent_or_null_media_says_nothing_and_an_empty_list_means_no_photos() -> None:
    assert read(without(a_record(), "Media")).photos is None
    assert read(a_record(Media=None)).photos is None
    assert read(a_record(Media=[])).photos == ()


TIMESTAMPS = pytest.mark.parametrize("name", ["ModificationTimestamp", "MediaChangeTimestamp", "PhotosChangeTimestamp"])


@TIMESTAMPS
@pytest.mark.parametrize("value", ["yesterday", 5, 1.5, True, [], {}, "2026-13-01"])
def test_a_timestamp_that_cannot_be_read_makes_the_record_invalid_unless_it_hides(name: str, value: object) -> None:
    record = without(a_record(), "MediaChangeTimestamp") | {name: value}
    with pytest.raises(InvalidPropertyRecord, match=f"{name} is not a timestamp"):
        read(record)
    assert read(record | {"StandardStatus": "Closed"}).hidden_by is GONE


@TIMESTAMPS
@pytest.mark.parametrize("value", ["", " ", "0001-01-01T00:00:00Z", "0000-00-00 00:00:00"])
def test_an_empty_timestamp_is_missing(name: str, value: str) -> None:
    record = without(a_record(), "MediaChangeTimestamp", "ModificationTimestamp") | {name: value}
    assert (read(record).version.modified_at, read(record).version.media_changed_at) == (None, None)


def test_the_version_is_the_same_with_and_without_the_photos() -> None:
    feed = a_feed(records_time_zone="America/Toronto")
    for status in ("Active", "Closed"):
        record = a_record(a_row("a"), StandardStatus=status)
        record |= dict.fromkeys(("ModificationTimestamp", "MediaChangeTimestamp"), "2026-11-01T01:30:00")
        assert announcement.read_version(feed, record) == announcement.read(feed, record).version


def test_of_the_hour_that_comes_twice_what_hides_is_later() -> None:
    feed = a_feed(records_time_zone="America/Toronto")
    local = dict.fromkeys(("ModificationTimestamp", "MediaChangeTimestamp"), "2026-11-01T01:30:00")
    at = [
        announcement.read(feed, a_record(StandardStatus=status) | local).version.modified_at
        for status in ("Active", "Closed")
    ]
    assert at == [datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 6, 30, tzinfo=UTC)]


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
    ("fields", "hidden_by", "removal"),
    [
        ({}, None, None),
        ({"StandardStatus": "Active Under Contract"}, None, None),
        ({"StandardStatus": "ActiveUnderContract"}, None, None),
        ({"StandardStatus": "b__QWN0aXZlIFVuZGVyIENvbnRyYWN0"}, None, None),
        ({"StandardStatus": " active "}, None, None),
        ({"StandardStatus": None}, None, None),
        ({"StandardStatus": ""}, None, None),
        ({"StandardStatus": "Closed"}, GONE, RemovalTime.AFTER_KEEPING),
        ({"StandardStatus": "ActiveX"}, GONE, RemovalTime.AFTER_KEEPING),
        ({"MlgCanView": True}, None, None),
        ({"MlgCanView": None}, None, None),
        ({"MlgCanView": False}, GONE, RemovalTime.AT_ONCE),
        ({"MlgCanView": "N"}, GONE, RemovalTime.AT_ONCE),
        ({"MlgCanView": False, "StandardStatus": "Closed"}, GONE, RemovalTime.AT_ONCE),
        ({"InternetEntireListingDisplayYN": True}, None, None),
        ({"InternetEntireListingDisplayYN": None}, None, None),
        ({"InternetEntireListingDisplayYN": False}, OPT_OUT, RemovalTime.AT_ONCE),
        ({"InternetEntireListingDisplayYN": "false"}, OPT_OUT, RemovalTime.AT_ONCE),
        ({"InternetEntireListingDisplayYN": "0"}, OPT_OUT, RemovalTime.AT_ONCE),
        ({"InternetEntireListingDisplayYN": False, "StandardStatus": "Closed"}, OPT_OUT, RemovalTime.AT_ONCE),
        ({"InternetEntireListingDisplayYN": False, "MlgCanView": False}, OPT_OUT, RemovalTime.AT_ONCE),
    ],
)
def test_status_and_permissions_decide_whether_a_listing_is_hidden(
    fields: Row, hidden_by: RemovalReason | None, removal: RemovalTime | None
) -> None:
    found = read(a_record(**fields))
    assert (found.hidden_by, found.hiding and found.hiding.removal) == (hidden_by, removal)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (a_record(a_row(MediaCategory="Hologram")), {("MediaCategory", "Hologram")}),
        (a_record(a_row(MediaStatus="Half done")), {("MediaStatus", "Half done")}),
        (a_record(InternetEntireListingDisplayYN="X"), {("InternetEntireListingDisplayYN", "X")}),
        (a_record(MlgCanView="perhaps"), {("MlgCanView", "perhaps")}),
        (a_record(a_row(MediaCategory="Document", MediaStatus="Processing")), set()),
        (a_record(InternetEntireListingDisplayYN="X", StandardStatus="Closed"), set()),
    ],
)
def test_words_that_no_rule_knows_are_named(record: Row, words: set[tuple[str, str]]) -> None:
    assert read(record).unknown_words == words


@pytest.mark.parametrize(
    "value", [False, 0, 0.0, "0", "f", "F", "false", "FALSE", "N", "n", "No", "NO", "Off", " off "]
)
def test_a_known_word_for_no_hides_and_removes(value: object) -> None:
    assert read(a_record(InternetEntireListingDisplayYN=value)).hiding == (OPT_OUT, RemovalTime.AT_ONCE, None)
    assert read(a_record(MlgCanView=value)).hiding == (GONE, RemovalTime.AT_ONCE, None)


@pytest.mark.parametrize("value", [None, "", "  ", [], {}, True, 1, 1.0, "1", "T", "true", "Y", "yes", "On"])
def test_yes_or_nothing_hides_nothing(value: object) -> None:
    assert read(a_record(InternetEntireListingDisplayYN=value, MlgCanView=value)).hiding is None


@pytest.mark.parametrize("value", ["X", "Non", "null", 2, -1, 0.5, ["N"], {"value": False}, "Private"])
def test_an_unknown_word_hides_and_removes_nothing(value: object) -> None:
    found = read(a_record(InternetEntireListingDisplayYN=value)).hiding
    assert found is not None
    assert (found.reason, found.removal) == (OPT_OUT, RemovalTime.NEVER)


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
            "MediaType", "PreferredPhotoYN",
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


@given(
    st.dictionaries(
        st.sampled_from([*a_record(), "MlgCanView", "InternetEntireListingDisplayYN", "PhotosCount"]), ANYTHING
    )
)
def test_any_record_is_read_or_invalid(record: Row) -> None:
    with contextlib.suppress(InvalidPropertyRecord):
        assert read(record).listing_key
