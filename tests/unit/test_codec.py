"""How are events encoded, byte for byte, and decoded? Decoding never raises."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.listing import RemovalReason
from shared.domain.priority import Priority
from shared.events.codec import AnyEvent, Event, Undecodable, decode, encode
from shared.events.images import ImageDownloaded, ImageOutdated, ImageRemoved, OutdatedReason, VariantDownloaded
from shared.events.listings import ListingSeen
from tests.builders import NOW, after

GOLDEN = Path(__file__).parents[1] / "golden"
ID = "00000000-0000-4000-8000-000000000000"
IMAGE = {"feed": "proptx-idx", "listing_key": "X5678", "image_id": "32e2ceab0c7758a30868997aad49ffd9"}
WEBP = "image/webp"
FOLDER = "https://cdn.example.com/proptx-idx/X5678/photo-1/5a5a5a5a5a5a5a5a"
EVENTS: list[AnyEvent] = [
    ListingSeen(
        feed="proptx-idx",
        record={
            "ListingKey": "X5678",
            "StandardStatus": "Active",
            "City": "Montréal",
            "ModificationTimestamp": "2026-11-23T08:59:00Z",
            "MediaChangeTimestamp": "2026-11-23T08:59:00Z",
            "InternetEntireListingDisplayYN": True,
            "MlgCanView": None,
            "ListPrice": 799000.5,
            "Media": [
                {
                    "MediaKey": "k-1",
                    "MediaObjectID": "photo-1",
                    "MediaURL": "https://photos.example.com/1.jpg?sig=a%2Fb",
                    "Order": 0,
                    "Permission": ["Public"],
                }
            ],
        },
    ),
    ImageOutdated(**IMAGE, reason=OutdatedReason.CHANGED, priority=Priority.POPULAR),
    ImageDownloaded(
        **IMAGE,
        order=0,
        url=f"{FOLDER}/full-12345678.webp",
        content_type="image/webp",
        width=1600,
        height=1200,
        file_size=160000,
        sha256="5a" * 32,
        variants=(
            VariantDownloaded(
                name="full",
                url=f"{FOLDER}/full-12345678.webp",
                content_type=WEBP,
                width=1600,
                height=1200,
                file_size=160000,
            ),
            VariantDownloaded(
                name="thumb",
                url=f"{FOLDER}/thumb-12345678.webp",
                content_type=WEBP,
                width=320,
                height=240,
                file_size=32000,
            ),
        ),
        media_changed_at=datetime(2026, 11, 23, 8, 59, 0, 123456, tzinfo=UTC),
        downloaded_at=NOW,
        changed=True,
    ),
    ImageRemoved(
        **IMAGE,
        reason=RemovalReason.PHOTO_WITHDRAWN,
        removed_at=NOW,
        urls=(f"{FOLDER}/full-12345678.webp", f"{FOLDER}/thumb-12345678.webp"),
    ),
]
KINDS = [type(event) for event in EVENTS]
each_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.TYPE)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.TYPE)


def golden(event: AnyEvent) -> bytes:
    return (GOLDEN / f"{event.TYPE}.json").read_bytes().rstrip(b"\n")


@each_event
def test_an_encoded_event_equals_the_golden_file_except_for_its_id(event: AnyEvent) -> None:
    written = encode(event, source="tests", now=NOW)
    assert written.replace(orjson.loads(written)["id"].encode(), ID.encode()) == golden(event)


@each_event
def test_the_golden_file_of_an_event_is_decoded(event: AnyEvent) -> None:
    assert decode(golden(event), type(event), after(9)) == Event(data=event, id=ID, time=NOW)


@each_event
def test_every_event_has_an_id_of_its_own(event: AnyEvent) -> None:
    first, second = (decode(encode(event, source="tests", now=NOW), type(event), NOW) for _ in range(2))
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.id != second.id
    assert (first.data, first.time) == (second.data, second.time)


@each_event
def test_unknown_fields_are_ignored(event: AnyEvent) -> None:
    value = orjson.loads(golden(event))
    value |= {"traceparent": "00-1", "extension": {"a": [1]}}
    value["data"] |= {"added_later": [{"a": None}]}
    assert decode(orjson.dumps(value), type(event), NOW) == Event(data=event, id=ID, time=NOW)


@each_event
@pytest.mark.parametrize("left_out", ["specversion", "id", "source", "time", "subject", "datacontenttype"])
def test_envelope_fields_that_a_producer_left_out_are_filled_in(event: AnyEvent, left_out: str) -> None:
    value = orjson.loads(golden(event))
    del value[left_out]
    decoded = decode(orjson.dumps(value), type(event), after(9))
    assert isinstance(decoded, Event)
    assert decoded.data == event
    assert decoded.id
    assert decoded.time == (after(9) if left_out == "time" else NOW)


def test_only_type_and_data_are_required() -> None:
    decoded = decode(b'{"type":"listing-seen.v1","data":{"feed":"f","property":{}}}', ListingSeen, after(9))
    assert isinstance(decoded, Event)
    assert (decoded.data, decoded.time) == (ListingSeen(feed="f", record={}), after(9))


@pytest.mark.parametrize(
    ("record", "subject"),
    [({"ListingKey": "X1"}, "X1"), ({"ListingKey": 12}, "12"), ({"ListingKey": None}, ""), ({}, "")],
)
def test_the_subject_of_a_listing_is_its_key_as_given(record: dict[str, object], subject: str) -> None:
    assert ListingSeen(feed="f", record=record).subject == subject
    assert orjson.loads(encode(ListingSeen(feed="f", record=record), source="s", now=NOW))["subject"] == subject


def test_half_a_surrogate_pair_costs_no_listing() -> None:
    value = (
        b'{"type":"listing-seen.v1","data":{"feed":"f","property":{"ListingKey":"X1","PublicRemarks":"home \\ud83c"}}}'
    )
    decoded = decode(value, ListingSeen, NOW)
    assert isinstance(decoded, Event)
    assert decoded.data.record == {"ListingKey": "X1", "PublicRemarks": "home \ufffd"}
    assert isinstance(decode(encode(decoded.data, source="s", now=NOW), ListingSeen, NOW), Event)


def test_times_are_encoded_in_utc() -> None:
    toronto = NOW.astimezone(timezone(timedelta(hours=-5)))
    assert orjson.loads(encode(EVENTS[1], source="tests", now=toronto))["time"] == "2026-11-23T09:00:00Z"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ('"2026-11-23T09:00:00Z"', NOW),
        ('"2026-11-23T04:00:00-05:00"', NOW),
        ('"2026-11-23T09:00:00"', NOW),
        ('"2026-11-23T09:00:00.000001Z"', after(0.000001)),
        ("null", after(9)),
        ('""', after(9)),
        ('"soon"', after(9)),
        ("1e308", after(9)),
        ("-99999999999999999999", after(9)),
        ("[]", after(9)),
    ],
)
def test_the_time_is_decoded_in_any_zone_and_replaced_if_unreadable(time: str, expected: datetime) -> None:
    value = f'{{"type":"listing-seen.v1","time":{time},"data":{{"feed":"f","property":{{}}}}}}'
    decoded = decode(value.encode(), ListingSeen, after(9))
    assert isinstance(decoded, Event)
    assert decoded.time == expected
    assert decoded.time.tzinfo is not None


def envelope(data: str, kind: str = "image-outdated.v1") -> bytes:
    return f'{{"type":"{kind}","data":{data}}}'.encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the value is null"),
        (b"", "not JSON"),
        (b" ", "not JSON"),
        (b"hello", "not JSON"),
        (b"{", "not JSON"),
        (b'{"type":"image-outdated.v1","data":{}', "not JSON"),
        (b"\x00\x01\xff\xfe", "not JSON"),
        (b"\xef\xbb\xbf{}", "type: Field required"),
        (b'{"type":"\xff"}', "data: Field required"),
        (b'{"type":"\\ud800","data":{}}', "the type is '\ufffd'"),
        (b'{"type":NaN}', "type:"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"type":"image-outdated.v1","data":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "not JSON"),
        (b"null", "event:"),
        (b"true", "event:"),
        (b"5", "event:"),
        (b'"listing-seen.v1"', "event:"),
        (b"[]", "event:"),
        (b'[{"type":"image-outdated.v1","data":{}}]', "event:"),
        (b"{}", "type: Field required; data: Field required"),
        (b'{"type":"image-outdated.v1"}', "data: Field required"),
        (b'{"data":{}}', "type: Field required"),
        (b'{"type":null,"data":{}}', "type:"),
        (b'{"type":5,"data":{}}', "type:"),
        (b'{"type":"image-outdated.v1","data":null}', "data:"),
        (b'{"type":"image-outdated.v1","data":[]}', "data:"),
        (b'{"type":"image-outdated.v1","data":"{}"}', "data:"),
        (envelope("{}", "image-outdated.v2"), "the type is 'image-outdated.v2'; this topic carries image-outdated.v1"),
        (envelope("{}", "listing-seen.v1"), "the type is 'listing-seen.v1'"),
        (envelope("{}", "x" * 10_000), f"the type is '{'x' * 100}'"),
        (envelope("{}"), "feed: Field required; listing_key: Field required; image_id: Field required"),
        (envelope('{"feed":"","listing_key":"","image_id":""}'), "feed: String should have at least 1 character"),
        (envelope('{"feed":null,"listing_key":"k","image_id":"i"}'), "feed:"),
        (envelope('{"feed":["f"],"listing_key":"k","image_id":"i"}'), "feed:"),
        (envelope('{"feed":"f","listing_key":5,"image_id":"i"}'), "listing_key:"),
        (envelope('{"feed":"f","listing_key":"k","image_id":"i","reason":"bored"}'), "reason:"),
        (envelope('{"feed":"f","listing_key":"k","image_id":"i","priority":"now"}'), "priority:"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_an_invalid_value_is_undecodable_with_a_reason(value: bytes | None, reason: str) -> None:
    decoded = decode(value, ImageOutdated, NOW)
    assert isinstance(decoded, Undecodable)
    assert reason in decoded.reason


@pytest.mark.parametrize(
    "data",
    [
        "{}",
        '{"feed":"f"}',
        '{"property":{}}',
        '{"feed":"","property":{}}',
        '{"feed":"f","property":null}',
        '{"feed":"f","property":[]}',
        '{"feed":"f","property":"{}"}',
        '{"feed":5,"property":{}}',
    ],
)
def test_a_listing_seen_without_feed_or_property_is_undecodable(data: str) -> None:
    assert isinstance(decode(envelope(data, "listing-seen.v1"), ListingSeen, NOW), Undecodable)


def test_a_property_record_with_huge_numbers_and_deep_nesting_does_not_raise() -> None:
    record = '{"ListingKey":"k","Big":1e400,"Int":' + "9" * 400 + ',"Deep":' + "[" * 500 + "]" * 500 + "}"
    decoded = decode(envelope(f'{{"feed":"f","property":{record}}}', "listing-seen.v1"), ListingSeen, NOW)
    assert isinstance(decoded, Event | Undecodable)


def test_an_older_event_does_not_say_the_content_types_of_variants() -> None:
    (event,) = (event for event in EVENTS if isinstance(event, ImageDownloaded))
    value = golden(event).replace(b',"content_type":"image/webp","width":320', b',"width":320')
    decoded = decode(value, ImageDownloaded, NOW)
    assert isinstance(decoded, Event)
    assert [variant.content_type for variant in decoded.data.variants] == [WEBP, None]


@each_event
def test_a_missing_field_is_named(event: AnyEvent) -> None:
    has_default = {"reason", "priority"} if isinstance(event, ImageOutdated) else set()
    for name in orjson.loads(golden(event))["data"].keys() - has_default:
        value = orjson.loads(golden(event))
        del value["data"][name]
        decoded = decode(orjson.dumps(value), type(event), NOW)
        assert isinstance(decoded, Undecodable)
        assert decoded.reason == f"{name}: Field required"


def test_a_reason_has_no_value_of_the_data() -> None:
    value = orjson.loads(golden(EVENTS[2]))
    value["data"] = dict.fromkeys(value["data"], "https://photos.example.com/secret")
    decoded = decode(orjson.dumps(value), ImageDownloaded, NOW)
    assert isinstance(decoded, Undecodable)
    assert "secret" not in decoded.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = sorted({name for event in EVENTS for name in orjson.loads(encode(event, source="s", now=NOW))["data"]})
DATA = st.dictionaries(st.sampled_from(NAMES), JSON | st.sampled_from(["missing", "viewed", "2026-11-23"]), max_size=14)
ENVELOPES = st.fixed_dictionaries(
    {"type": st.sampled_from([kind.TYPE for kind in KINDS]) | JSON, "data": DATA | JSON},
    optional={"id": JSON, "time": JSON, "subject": JSON},
)


@each_kind
@settings(max_examples=60)
@given(value=st.none() | st.binary() | JSON.map(orjson.dumps) | ENVELOPES.map(orjson.dumps))
def test_decoding_never_raises(kind: type[AnyEvent], value: bytes | None) -> None:
    decoded = decode(value, kind, NOW)
    if isinstance(decoded, Event):
        assert isinstance(decoded.data, kind)
        assert decoded.time.tzinfo is not None
    else:
        assert decoded.reason


@each_event
@settings(max_examples=60)
@given(change=st.data())
def test_an_event_with_one_wrong_field_is_decoded_or_undecodable(event: AnyEvent, change: st.DataObject) -> None:
    value = orjson.loads(golden(event))
    spoilt = change.draw(st.sampled_from([value, value["data"]]))
    spoilt[change.draw(st.sampled_from(sorted(spoilt)))] = change.draw(JSON)
    assert isinstance(decode(orjson.dumps(value), type(event), NOW), Event | Undecodable)


@given(st.dictionaries(st.text(max_size=10), JSON, max_size=4))
def test_any_property_record_is_decoded_as_it_was_encoded(record: dict[str, object]) -> None:
    plain = orjson.loads(orjson.dumps(record))
    decoded = decode(encode(ListingSeen(feed="f", record=plain), source="s", now=NOW), ListingSeen, NOW)
    assert isinstance(decoded, Event)
    assert decoded.data.record == plain
