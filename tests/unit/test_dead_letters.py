"""How is a dead letter read, whatever its content?"""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ops import dead_letters as letters
from ops.dead_letters import DeadLetter, DeadLetterFilter, Group
from shared.dead_letters import DeadLetters
from shared.events.records import Record
from shared.kafka import Broker
from tests.builders import NOW, after


def a_letter(value: bytes | None = b"{}", *, offset: int = 1, seconds: float = 0, **headers: str) -> DeadLetter:
    given = {
        "reason": "not JSON: line 1 column 2",
        "topic": "t.listing-seen",
        "partition": "3",
        "offset": "44",
        **headers,
    }
    raw = tuple((f"dead_letter_{name}", text.encode()) for name, text in {"service": "janitor", **given}.items())
    return letters.read(Record("t.dead-letter", 0, offset, after(seconds), b"X1", value, raw))


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (b'{"type": "listing-seen.v1"}', {"type": "listing-seen.v1"}),
        (b"not JSON", "not JSON"),
        (b"\xff\xfe", {"base64": "//4="}),
        (None, None),
    ],
)
def test_a_value_is_decoded_as_far_as_it_can_be(value: bytes | None, decoded: Any) -> None:
    described = letters.to_json(a_letter(value))
    assert described["value"] == decoded
    assert (described["topic"], described["partition"], described["topic_offset"]) == ("t.listing-seen", 3, 44)


def test_a_record_without_the_headers_is_shown_all_the_same() -> None:
    letter = letters.read(Record("t.dead-letter", 0, 9, NOW, b"\xff", b"x", (("dead_letter_partition", b"many"),)))
    assert (letter.reason, letter.service, letter.source) == ("no reason given", "unknown", None)
    assert letters.to_json(letter)["key"] is None


def test_letters_group_by_reason_and_service_and_numbers_do_not_tell_them_apart() -> None:
    found: dict[tuple[str, str, str], Group] = {}
    for letter in (
        a_letter(offset=1),
        a_letter(offset=2, seconds=5, reason="not JSON: line 7 column 30"),
        a_letter(offset=3, service="scheduler"),
        a_letter(offset=4, reason="ListingKey is missing"),
    ):
        letters.add_to_group(found, letter)
    first, second, third = found.values()
    assert (first.reason, first.letters, first.oldest, first.newest, first.example) == (
        "not JSON: line # column #", 2, NOW, after(5), 2,
    )  # fmt: skip
    assert (second.reason, second.service) == ("not JSON: line 1 column 2", "scheduler")
    assert third.reason == "ListingKey is missing"


@pytest.mark.parametrize(
    ("selected", "is_meant"),
    [
        (DeadLetterFilter(), True),
        (DeadLetterFilter(offsets=frozenset({1, 2})), True),
        (DeadLetterFilter(offsets=frozenset({2})), False),
        (DeadLetterFilter(reason="NOT json"), True),
        (DeadLetterFilter(reason="missing"), False),
        (DeadLetterFilter(service="janitor", reason="json"), True),
        (DeadLetterFilter(service="scheduler", reason="json"), False),
    ],
)
def test_filters_combine(selected: DeadLetterFilter, is_meant: bool) -> None:
    assert selected.selects(a_letter()) == is_meant


@pytest.mark.parametrize(
    ("letter", "listing_key", "names"),
    [
        (a_letter(), "X1", True),
        (a_letter(), "X2", False),
        (a_letter(b'{"data":{"property":{"ListingKey":"X2"}}}'), "X2", True),
        (a_letter(b'{"data":{"property":{"ListingKey":"X22"}}}'), "X2", False),
        (a_letter(None), "X1", True),
    ],
)
def test_a_letter_names_a_listing_by_its_key_or_in_its_value(letter: DeadLetter, listing_key: str, names: bool) -> None:
    assert letter.names(listing_key) == names


def test_the_count_of_dead_letters_begins_at_0() -> None:
    registry = CollectorRegistry()
    DeadLetters(Broker("nowhere"), "t.", "janitor", lambda: NOW, registry)
    assert registry.get_sample_value("listing_images_dead_letters_total", {"topic": "t.listing-seen"}) == 0
