"""Is a JSON document read item by item as the standard library reads it whole, wherever its chunks end?"""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import json_stream
from shared.json_stream import NotJson, items

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def read(text: str, chunk_bytes: int = 1_000_000) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK_BYTES", chunk_bytes)
        return list(items(io.BytesIO(text.encode())))


def expected(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    if isinstance(document, dict) and isinstance(document.get("value"), list):
        return list(document["value"])
    return [document]


@given(VALUES, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_a_document_is_read_as_the_standard_library_reads_it(
    document: Any, chunk_bytes: int, indent: int | None, is_ascii: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=is_ascii)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character cannot be in a file
        text = json.dumps(document, indent=indent)
    assert read(text, chunk_bytes) == expected(document)


@given(st.lists(VALUES), st.dictionaries(st.text().filter(lambda name: name != "value"), VALUES), st.integers(1, 40))
def test_the_rows_of_a_page_are_read_wherever_its_other_members_stand(
    rows: list[Any], others: dict[str, Any], chunk_bytes: int
) -> None:
    names = list(others)
    page = {
        **{name: others[name] for name in names[::2]},
        "value": rows,
        **{name: others[name] for name in names[1::2]},
    }
    assert read(json.dumps(page), chunk_bytes) == rows


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "[1, 2", "[1 2]", "[1,]", "{", '{"a" 1}', '{"a": 1,}', "{1: 2}", '{"value": [1]', "[1] x",
        "1 2", "nul",
        '"' + "x" * 50, "[" * 100_000, '{"a": ' * 100_000, "1" * 5_000,
    ],
)  # fmt: skip
def test_what_is_not_json_is_named_and_ends_nothing(text: str) -> None:
    for chunk_bytes in (7, 1_000_000):
        with pytest.raises(NotJson):
            read(text, chunk_bytes)


def test_the_items_before_a_fault_are_yielded() -> None:
    reading = items(io.BytesIO(b'[{"a": 1}, {"b": 2}, {"c": '))
    assert [next(reading), next(reading)] == [{"a": 1}, {"b": 2}]
    with pytest.raises(NotJson):
        next(reading)


def test_bytes_that_are_not_utf_8_are_named() -> None:
    with pytest.raises(NotJson, match="UTF-8"):
        list(items(io.BytesIO(b'["caf\xe9"]')))
