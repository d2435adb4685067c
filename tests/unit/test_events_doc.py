"""docs/events.md is what producers and consumers build on: its examples are read, and its tables are tried."""

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
from shared.domain.announcement import MAX_PHOTOS, InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.domain.image import image_id
from shared.domain.listing import Listing, RemovalReason
from shared.events.codec import Event, decode, encode
from shared.events.images import ImageDownloaded, ImageRemoved
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.events.topics import MANIFEST, MAX_RECORD_BYTES
from shared.settings import read_feeds
from tests.builders import NOW, Row, a_record, a_row, announced, without

TEXT = (PROJECT / "docs" / "events.md").read_text()
FEEDS = read_feeds(PROJECT / "feeds.example.toml")
UNREADABLE = {"unreadable": "in every field"}


def fenced(text: str) -> list[bytes]:
    return [block.encode() for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def table(head: str, after: str = "") -> list[list[str]]:
    """Return the cells below the first table with that head, after a heading; without marks of code and stress."""
    found = re.search(rf"^\| {re.escape(head)} \|\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT[TEXT.index(after) :], re.MULTILINE)
    assert found, f"events.md has no table {head!r}"
    lines = found[1].replace("`", "").replace("**", "").splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


EXAMPLES = {kind: [one for one in fenced(TEXT) if orjson.loads(one)["type"] == kind.TYPE] for kind in
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


def test_every_example_is_of_a_kind_that_is_tried_here() -> None:
    assert sum(map(len, EXAMPLES.values())) == len(fenced(TEXT))
    assert {kind: len(some) for kind, some in EXAMPLES.items()} == {ListingSeen: 2, ImageDownloaded: 1, ImageRemoved: 1}


def test_the_example_of_a_listing_is_recorded_as_the_photos_that_are_said() -> None:
    listing = recorded(EXAMPLES[ListingSeen][1])
    shown = [[str(one.order), one.object_id, one.media_key, one.caption, one.id] for one in listing.photos]
    assert shown == table("order | photo | row that is fetched | caption | image id")
    assert len(shown) == 2
    assert [len(photo.url_keys) for photo in listing.photos] == [3, 3]
    assert listing.is_displayed
    assert not listing.set_aside


def test_the_short_form_is_read_and_takes_a_listing_away() -> None:
    short, whole = EXAMPLES[ListingSeen]
    assert set(orjson.loads(short)) == {"type", "data"}
    feed, record = seen(short)
    gone = announced(record, recorded(whole), feed=feed, offset=1)
    assert gone is not None
    assert gone.hidden is not None
    assert gone.hidden.reason is RemovalReason.LISTING_INACTIVE
    assert len(gone.photos) == 2, "its photos are as they were: it says nothing of them"


def test_the_example_in_the_readme_is_a_displayed_listing_whose_photos_may_be_fetched() -> None:
    (example,) = fenced((PROJECT / "README.md").read_text())
    feed, _ = seen(example)
    listing = recorded(example)
    assert listing.is_displayed
    assert listing.photos
    assert not listing.set_aside
    assert all(photo.url.split("/")[2] in feed.image_hosts for photo in listing.photos)


@each_image_event
def test_the_example_of_an_image_event_is_what_is_written(kind: type[ImageDownloaded]) -> None:
    (example,) = EXAMPLES[kind]
    event = decode(example, kind, NOW)
    assert isinstance(event, Event), event
    said, written = orjson.loads(example), orjson.loads(encode(event.data, source="", now=event.time))
    assert said == {**written, "id": event.id, "source": said["source"]}
    assert event.data.image_id == image_id(event.data.feed, event.data.listing_key, "7d31f0")


def test_the_examples_urls_are_where_copies_are_stored() -> None:
    downloaded, removed = (orjson.loads(EXAMPLES[kind][0])["data"] for kind in (ImageDownloaded, ImageRemoved))
    folder = keys.folder(downloaded["feed"], downloaded["listing_key"], "7d31f0", downloaded["sha256"])
    urls = [variant["url"] for variant in downloaded["variants"]]
    assert all(url.startswith(f"https://cdn.example.com/photos/{folder}") for url in urls)
    assert removed["urls"] == urls
    full = {name: downloaded[name] for name in ("url", "width", "height", "file_size")}
    assert downloaded["variants"][0] == {"name": "full", **full}


@each_image_event
def test_the_table_of_an_image_event_has_the_models_fields_and_types(kind: type[ImageDownloaded]) -> None:
    schema = kind.model_json_schema(mode="serialization")["properties"]
    expected = {name: _type(said) for name, said in schema.items()}
    assert {name: said for name, said, _ in table("field | type | meaning", f"### `{kind.TYPE[:-3]}`")} == expected


def test_every_reason_of_a_removal_is_explained() -> None:
    assert {reason for reason, _ in table("reason | the image")} == {reason.value for reason in RemovalReason}


def test_the_table_of_topics_is_the_manifests() -> None:
    said = {
        (name, partitions, kept)
        for name, _, _, partitions, kept in table("topic | says | written by | partitions | kept")
    }
    assert said == {(one.name, str(one.partitions), f"{one.days} day{'s' if one.days > 1 else ''}") for one in MANIFEST}


def test_limits_are_the_codes() -> None:
    assert f"at most {MAX_RECORD_BYTES:,} bytes" in TEXT
    assert f"shows\n{MAX_PHOTOS} photos at most" in TEXT


def test_the_headers_of_a_dead_letter_are_those_that_are_written() -> None:
    class Kept:
        def __init__(self) -> None:
            self.names: set[str] = set()

        async def publish(self, records: Any) -> None:
            self.names = {name for record in records for name, _ in record.headers}

    kept = Kept()
    letters = DeadLetters(kept, "", "janitor", lambda: NOW, CollectorRegistry())  # type: ignore[arg-type]
    asyncio.run(letters.put(Record("listing-seen", 0, 0, NOW, b"k", None), "the value is null"))
    assert set(re.findall(r"`(dead_letter_\w+)`", TEXT)) == kept.names


class Noting(dict[str, Any]):
    """A record that notes which of its fields are asked for."""

    def __init__(self, names: list[str], fields: Row) -> None:
        super().__init__(fields)
        self._names = names

    def get(self, name: str, default: Any = None) -> Any:
        self._names.append(name)
        return super().get(name, default)


def test_the_tables_name_exactly_the_fields_that_are_read() -> None:
    of_property, of_row = list[str](), list[str]()
    row = Noting(of_row, a_row())
    announcement.read(FEEDS["proptx-idx"], Noting(of_property, {"ListingKey": "X1", "Media": [row]}))
    assert {name for name, *_ in OF_PROPERTY} == set(of_property)
    assert {name for name, *_ in OF_ROW} == set(of_row)


NEEDED = {"ListingKey": "X1", "Media": [a_row()]}
SPOILING: list[tuple[str, list[str], Callable[[str, object], Row], Row]] = [
    *(
        (said[0], said, lambda name, value: {**NEEDED, name: value}, without(NEEDED, said[0])) for said in OF_PROPERTY
    ),
    *(
        (said[0], said, lambda name, value: {**NEEDED, "Media": [{**a_row(), name: value}]},
         {**NEEDED, "Media": [without(a_row(), said[0])]})
        for said in OF_ROW
    ),
]  # fmt: skip


def outcome(record: Row) -> object:
    """Return in the tables' words what becomes of a record, or what is announced where nothing is wrong with it."""
    try:
        said = announcement.read(FEEDS["proptx-idx"], record)
    except InvalidPropertyRecord:
        return "dead letter"
    return "set aside" if said.set_aside else replace(said, event_id="")


@pytest.mark.parametrize(("name", "said", "spoilt", "left_out"), SPOILING, ids=[name for name, *_ in SPOILING])
def test_what_is_missing_null_or_unreadable_is_what_the_tables_say(
    name: str, said: list[str], spoilt: Callable[[str, object], Row], left_out: Row
) -> None:
    _, needed, _, missing, unreadable = said
    without_it = outcome(left_out)
    assert outcome(spoilt(name, None)) == without_it
    assert outcome(spoilt(name, UNREADABLE)) == (without_it if unreadable == "as missing" else unreadable)
    assert without_it == missing if needed == "yes" else not isinstance(without_it, str)


BAD, REFUSED = {"MediaURL": None}, {"Permission": ["Private"]}
MEDIA: dict[str, object] = {
    "null": None,
    "[]": [],
    "no row can be understood": [a_row("a", **BAD), a_row("b", **BAD)],
    "no row may be fetched": [a_row("a", **REFUSED), a_row("b", **REFUSED)],
    "no row of one photo can be understood, rows of others can": [a_row("a"), a_row("b", **BAD)],
    "anything but a list": {"value": []},
}


def becomes(media: Row) -> str:
    known = announced(a_record(a_row("a"), a_row("b")))
    assert known is not None
    try:
        after = announced({**without(a_record(at=5), "Media"), **media}, known, offset=1)
    except InvalidPropertyRecord:
        return "stay: dead letter"
    assert after is not None
    assert all(discard.reason is RemovalReason.PHOTO_WITHDRAWN for discard in after.discards)
    return {0: "go", 1: "that one goes", 2: "stay"}[len(after.photos)]


def test_what_is_said_of_photos_is_what_becomes_of_them() -> None:
    found = {"absent": becomes({}), **{name: becomes({"Media": media}) for name, media in MEDIA.items()}}
    assert dict(table("Media | photos that are recorded".replace("Media", "`Media`", 1))) == found


def _type(said: Row) -> str:
    if "anyOf" in said:
        return " or ".join(_type(one) for one in said["anyOf"])
    if said.get("format") == "date-time":
        return "time"
    plain = {"string": "text", "integer": "number", "boolean": "yes or no", "array": "list", "null": "null"}
    return plain[said.get("type", "string")]  # a reference is to an enumeration of texts
