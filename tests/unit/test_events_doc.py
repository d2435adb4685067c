"""Is docs/events.md right? Its examples are decoded and recorded, and its tables are compared with the code."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from local.config import PROJECT
from shared.dead_letters import DeadLetters
from shared.domain import announcement, keys
from shared.domain.announcement import InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.domain.image import image_id
from shared.domain.listing import Listing, RemovalReason
from shared.domain.media import MAX_PHOTOS
from shared.events.codec import Event, decode, encode
from shared.events.images import ImageDownloaded, ImageRemoved
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.events.topics import MANIFEST, MAX_RECORD_BYTES
from shared.settings import read_feeds
from tests.builders import NOW, Row, a_copy, a_record, a_row, announced, stamp, with_copies, without

TEXT = (PROJECT / "docs" / "events.md").read_text()
FEEDS = read_feeds(PROJECT / "feeds.example.toml")
UNREADABLE = {"unreadable": "in every field"}


def fenced(text: str) -> list[bytes]:
    return [block.encode() for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def table(head: str, after: str = "") -> list[list[str]]:
    """Return the rows of the first table with a head, after a heading: their cells without backticks and asterisks."""
    found = re.search(rf"^\| {re.escape(head)} \|\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT[TEXT.index(after) :], re.MULTILINE)
    assert found, f"events.md has no table {head!r}"
    lines = found[1].replace("`", "").replace("**", "").splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


EXAMPLES = {kind: [block for block in fenced(TEXT) if orjson.loads(block)["type"] == kind.TYPE] for kind in
            (ListingSeen, ImageDownloaded, ImageRemoved)}  # fmt: skip
FIELDS = "field | needed | decides | missing | unreadable"
OF_PROPERTY = table(FIELDS, "### Fields of Property")
OF_ROW = table(FIELDS, "### Fields of a row of Media")
each_image_event = pytest.mark.parametrize("kind", [ImageDownloaded, ImageRemoved], ids=lambda kind: kind.TYPE)


def seen(value: bytes) -> tuple[Feed, Row]:
    event = decode(value, ListingSeen, NOW)
    assert isinstance(event, Event), event
    return FEEDS[event.data.feed], event.data.record


def recorded(value: bytes) -> Listing:
    feed, record = seen(value)
    listing = announced(record, feed=feed)
    assert listing is not None
    return listing


def test_every_example_is_of_a_tested_type() -> None:
    assert sum(map(len, EXAMPLES.values())) == len(fenced(TEXT))
    assert {kind: len(examples) for kind, examples in EXAMPLES.items()} == {
        ListingSeen: 2,
        ImageDownloaded: 1,
        ImageRemoved: 1,
    }


def test_the_example_of_a_listing_is_recorded_with_the_photos_of_the_table() -> None:
    listing = recorded(EXAMPLES[ListingSeen][1])
    shown = [[str(photo.order), photo.object_id, photo.media_key, photo.caption, photo.id] for photo in listing.photos]
    assert shown == table("order | photo | row that is fetched | caption | image id")
    assert len(shown) == 2
    assert [len(photo.url_keys) for photo in listing.photos] == [3, 3]
    assert listing.is_displayed
    assert not listing.set_aside


def test_the_short_form_hides_a_listing() -> None:
    short, whole = EXAMPLES[ListingSeen]
    assert set(orjson.loads(short)) == {"type", "data"}
    feed, record = seen(short)
    gone = announced(record, recorded(whole), feed=feed, offset=1)
    assert gone is not None
    assert gone.hidden is not None
    assert gone.hidden.reason is RemovalReason.LISTING_INACTIVE
    assert len(gone.photos) == 2, "its photos stay: the short form has no Media"


def test_the_example_in_the_readme_is_a_displayed_listing_whose_photos_may_be_fetched() -> None:
    (example,) = fenced((PROJECT / "README.md").read_text())
    feed, _ = seen(example)
    listing = recorded(example)
    assert listing.is_displayed
    assert listing.photos
    assert not listing.set_aside
    assert all(photo.url.split("/")[2] in feed.image_hosts for photo in listing.photos)


@each_image_event
def test_the_example_of_an_image_event_is_as_encoded(kind: type[ImageDownloaded]) -> None:
    (example,) = EXAMPLES[kind]
    event = decode(example, kind, NOW)
    assert isinstance(event, Event), event
    shown, encoded = orjson.loads(example), orjson.loads(encode(event.data, source="", now=event.time))
    assert shown == {**encoded, "id": event.id, "source": shown["source"]}
    assert event.data.image_id == image_id(event.data.feed, event.data.listing_key, "7d31f0")


def test_the_urls_of_the_examples_are_those_of_stored_copies() -> None:
    downloaded, removed = (orjson.loads(EXAMPLES[kind][0])["data"] for kind in (ImageDownloaded, ImageRemoved))
    folder = keys.folder(downloaded["feed"], downloaded["listing_key"], "7d31f0", downloaded["sha256"])
    urls = [variant["url"] for variant in downloaded["variants"]]
    assert all(url.startswith(f"https://cdn.example.com/photos/{folder}") for url in urls)
    assert removed["urls"] == urls
    full = {name: downloaded[name] for name in ("url", "content_type", "width", "height", "file_size")}
    assert downloaded["variants"][0] == {"name": "full", **full}


@each_image_event
def test_the_table_of_an_image_event_has_the_models_fields_and_types(kind: type[ImageDownloaded]) -> None:
    schema = kind.model_json_schema(mode="serialization")["properties"]
    expected = {name: _type_text(field) for name, field in schema.items()}
    assert {
        name: type_text for name, type_text, _ in table("field | type | meaning", f"### `{kind.TYPE[:-3]}`")
    } == expected


def test_every_reason_of_a_removal_is_explained() -> None:
    assert {reason for reason, _ in table("reason | the image")} == {reason.value for reason in RemovalReason}


def test_the_table_of_topics_equals_the_manifest() -> None:
    topics = {
        (name, partitions, days)
        for name, _, _, partitions, days in table("topic | its events say | written by | partitions | kept")
    }
    assert topics == {
        (topic.name, str(topic.partitions), f"{topic.days} day{'s' if topic.days > 1 else ''}") for topic in MANIFEST
    }


def test_the_limits_equal_those_of_the_code() -> None:
    assert f"at most {MAX_RECORD_BYTES:,} bytes" in TEXT
    assert f"shows\n{MAX_PHOTOS} photos at most" in TEXT


def test_the_headers_of_a_dead_letter_are_all_named() -> None:
    class NotingBroker:
        def __init__(self) -> None:
            self.names: set[str] = set()

        async def publish(self, records: Any) -> None:
            self.names = {name for record in records for name, _ in record.headers}

    broker = NotingBroker()
    letters = DeadLetters(broker, "", "janitor", lambda: NOW, CollectorRegistry())  # type: ignore[arg-type]
    asyncio.run(letters.put(Record("listing-seen", 0, 0, NOW, b"k", None), "the value is null"))
    assert set(re.findall(r"`(dead_letter_\w+)`", TEXT)) == broker.names


class Noting(dict[str, Any]):
    """A dict that notes the names of the fields that are read."""

    def __init__(self, names: list[str], fields: Row) -> None:
        super().__init__(fields)
        self._names = names

    def get(self, name: str, default: Any = None) -> Any:
        self._names.append(name)
        return super().get(name, default)


def test_the_tables_name_every_field_that_is_read() -> None:
    of_property, of_row = list[str](), list[str]()
    row = Noting(of_row, a_row())
    announcement.read(FEEDS["proptx-idx"], Noting(of_property, {"ListingKey": "X1", "Media": [row]}))
    assert {name for name, *_ in OF_PROPERTY} == set(of_property)
    assert {name for name, *_ in OF_ROW} == set(of_row)


NEEDED = {"ListingKey": "X1", "Media": [a_row()]}
WRONG_FIELDS: list[tuple[str, list[str], Callable[[str, object], Row], Row]] = [
    *(
        (row[0], row, lambda name, value: {**NEEDED, name: value}, without(NEEDED, row[0])) for row in OF_PROPERTY
    ),
    *(
        (row[0], row, lambda name, value: {**NEEDED, "Media": [{**a_row(), name: value}]},
         {**NEEDED, "Media": [without(a_row(), row[0])]})
        for row in OF_ROW
    ),
]  # fmt: skip


def outcome(record: Row) -> object:
    """Return the tables' word for what a wrong record becomes, or the announcement of a right one."""
    try:
        read = announcement.read(FEEDS["proptx-idx"], record)
    except InvalidPropertyRecord:
        return "dead letter"
    if read.unknown_words:
        return "hidden"
    return "set aside" if read.set_aside else replace(read, event_id="")


@pytest.mark.parametrize(
    ("name", "row", "with_value", "left_out"), WRONG_FIELDS, ids=[name for name, *_ in WRONG_FIELDS]
)
def test_missing_null_and_unreadable_fields_have_the_effect_that_the_tables_name(
    name: str, row: list[str], with_value: Callable[[str, object], Row], left_out: Row
) -> None:
    _, needed, _, missing, unreadable = row
    without_it = outcome(left_out)
    assert outcome(with_value(name, None)) == without_it
    assert outcome(with_value(name, UNREADABLE)) == (without_it if unreadable == "as missing" else unreadable)
    assert without_it == missing if needed == "yes" else not isinstance(without_it, str)


BAD, REFUSED = {"MediaURL": None}, {"Permission": ["Private"]}
MEDIA: dict[str, object] = {
    "null": None,
    "[]": [],
    "no row can be understood": [a_row("a", **BAD), a_row("b", **BAD)],
    "no row may be fetched": [a_row("a", **REFUSED), a_row("b", **REFUSED)],
    "no row of one photo has a URL, rows of others have": [a_row("a"), a_row("b", **BAD)],
    "one photo is not ready: Processing": [a_row("a"), a_row("b", MediaStatus="Processing")],
    "one photo is Deleted": [a_row("a"), a_row("b", MediaStatus="Deleted")],
    "no rows: another type, or an object without any": {"value": []},
}


def effect(media: Row) -> str:
    """Return the table's word for what a record's Media does to two recorded photos."""
    before = with_copies(announced(a_record(a_row("a"), a_row("b"))))
    try:
        after = announced({**without(a_record(at=5), "Media"), **media}, before, offset=1)
    except InvalidPropertyRecord:
        return "stay: dead letter"
    assert after is not None
    assert all(discard.reason is RemovalReason.PHOTO_WITHDRAWN for discard in after.discards)
    if not {photo.id for photo in after.photos} <= {photo.id for photo in before.photos}:
        assert [photo.copy and photo.copy.sha256 for photo in after.photos] == [a_copy().sha256, a_copy().sha256]
        return "stay, with their copies, under new ids"
    return {0: "go", 1: "that one goes", 2: "stay"}[len(after.photos)]


def test_media_has_the_effect_on_photos_that_the_table_names() -> None:
    found = {"absent": effect({}), **{name: effect({"Media": media}) for name, media in MEDIA.items()}}
    found["[] beside a PhotosCount above 0"] = effect({"Media": [], "PhotosCount": "2"})
    cut = [effect({"Media": [a_row("a")], "PhotosCount": 2, "MediaChangeTimestamp": stamp(at)}) for at in (0, 5)]
    found["fewer photos than PhotosCount, and the record's photo timestamp did not move"] = cut[0]
    assert cut[1] == "that one goes"
    other_keys = [a_row("a") | {"MediaKey": "n1"}, a_row("b") | {"MediaKey": "n2"}]
    found["has other keys for the same URLs"] = effect({"Media": other_keys})
    assert dict(table("Media | photos that are recorded".replace("Media", "`Media`", 1))) == found


def _type_text(field: Row) -> str:
    if "anyOf" in field:
        return " or ".join(map(_type_text, field["anyOf"]))
    if field.get("format") == "date-time":
        return "time"
    plain = {"string": "text", "integer": "number", "boolean": "yes or no", "array": "list", "null": "null"}
    return plain[field.get("type", "string")]  # a reference is to an enumeration of texts
