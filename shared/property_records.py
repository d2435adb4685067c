"""Reads property records from bytes in any form that MLSs and ingests write: NDJSON, a JSON array, OData pages."""

import codecs
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import ijson

from shared.repaired_json import repaired

PropertyRecord = dict[str, Any]
OnProgress = Callable[[int], object]
"""Called with the number of bytes that have been read."""
_MAX_FIRST_LINE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Unusable:
    """Names a part of a file that is no property record, and says why; `publish --json` prints these names.

    `where` names the line, the record, or the ListingKey.
    """

    where: str
    reason: str


def read(file: IO[bytes], on_progress: OnProgress = lambda _: None) -> Iterator[PropertyRecord | Unusable]:
    """Yield the property records of a file one by one, and each unusable part, without reading the whole into memory.

    `file` must be seekable. It holds NDJSON, a JSON array, an OData page or one record; a line of NDJSON may itself be
    an OData page. `on_progress` is called with the number of bytes read so far. Raises OSError if the file cannot be
    read.
    """
    begin = len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
    file.seek(begin)
    first_line = file.readline(_MAX_FIRST_LINE_BYTES)
    while first_line and not first_line.strip():
        first_line = file.readline(_MAX_FIRST_LINE_BYTES)
    file.seek(begin)
    if first_line.lstrip()[:1] == b"[":
        yield from _read_items(file, "item", on_progress)
    elif _is_json(first_line):
        yield from _read_lines(file, on_progress)
    else:
        yield from _read_document(file, on_progress)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _read_lines(file: IO[bytes], on_progress: OnProgress) -> Iterator[PropertyRecord | Unusable]:
    """Yield the records of an NDJSON file and its unusable lines: a line holds a record or an OData page.

    `on_progress` is called after each line with the number of bytes read so far.
    """
    read_bytes = 0
    for number, line in enumerate(file, 1):
        read_bytes += len(line)
        if line.strip():
            try:
                value = repaired(json.loads(line))
            except ValueError as error:
                yield Unusable(f"line {number}", f"not JSON: {error}")
            else:
                rows = value["value"] if isinstance(value, dict) and isinstance(value.get("value"), list) else [value]
                yield from (_checked(row, f"line {number}") for row in rows)
        on_progress(read_bytes)


def _read_document(file: IO[bytes], on_progress: OnProgress) -> Iterator[PropertyRecord | Unusable]:
    """Yield the records of a file that is one JSON object over several lines.

    They are the rows of `value` if that is an array, as in an OData page; else the object itself is the record. A part
    that is not JSON is yielded as Unusable.
    """
    begin = file.tell()
    is_page = any(prefix == "value" and event == "start_array" for prefix, event, _ in _json_events(file))
    file.seek(begin)
    yield from _read_items(file, "value.item" if is_page else "", on_progress)


def _json_events(file: IO[bytes]) -> Iterator[tuple[str, str, object]]:
    """Yield the JSON parser's events from where `file` stands, until the file ends or is no longer valid JSON.

    An event is a tuple of ijson's prefix (where in the document), the event's name, such as `start_array`, and its
    value.
    """
    with suppress(ijson.JSONError):
        yield from ijson.parse(file)


def _read_items(file: IO[bytes], prefix: str, on_progress: OnProgress) -> Iterator[PropertyRecord | Unusable]:
    """Yield the records at a prefix of a JSON file; from where the file is not JSON, one Unusable instead.

    `prefix` is written as ijson writes it: "item" is each element of an array, "" the document itself. `on_progress` is
    called after each record with the number of bytes read so far.
    """
    number = 0
    try:
        for number, row in enumerate(ijson.items(file, prefix, use_float=True), 1):
            yield _checked(repaired(row), f"record {number}")
            on_progress(file.tell())
    except ijson.JSONError as error:
        yield Unusable(f"after record {number}", f"not JSON: {' '.join(str(error).split())[:200]}")


def _checked(row: object, where: str) -> PropertyRecord | Unusable:
    if not isinstance(row, dict):
        return Unusable(where, f"a Property record must be an object, not {type(row).__name__}")
    return row if row.get("ListingKey") else Unusable(where, "it has no ListingKey")
