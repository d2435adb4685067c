"""Reads property records from bytes in any form that MLSs and sites send: NDJSON, a JSON array, OData pages."""

import codecs
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import orjson

from shared import json_stream
from shared.events.topics import MAX_RECORD_BYTES
from shared.json_stream import NotJson
from shared.repaired_json import repaired

PropertyRecord = dict[str, Any]
OnProgress = Callable[[int], object]
"""Called with the number of bytes that have been read so far."""
_MAX_FIRST_LINE_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 1_000_000
_ENVELOPE_BYTES = 1_000
"""The most bytes that an event has besides its property record."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Names a part of a file that is not a usable property record, and says why not.

    `where` names the line, the record, or the ListingKey. `publish --json` prints both fields under their names.
    """

    where: str
    reason: str


class BrokenEnd(Unusable):
    """Names the rest of a file that is not JSON: nothing after the record that `where` names can be read."""


def why_unsendable(record: PropertyRecord) -> str | None:
    """Return why a property record cannot be sent to Kafka as an event; None if it can.

    The reason is a phrase for the one who sends the record.
    """
    try:
        is_too_large = len(orjson.dumps(record)) > MAX_RECORD_BYTES - _ENVELOPE_BYTES
    except TypeError as error:  # JSON that orjson cannot write: half a character, 65 bits, or too deep
        return f"cannot be sent: {error}"
    return f"larger than a record may be, {MAX_RECORD_BYTES:,} bytes" if is_too_large else None


def read(file: IO[bytes], on_progress: OnProgress = lambda _: None) -> Iterator[PropertyRecord | Unusable]:
    """Yield the property records of a file one by one, and an Unusable for each part that is no property record.

    The file is not read into memory as a whole. `file` must be seekable. It holds NDJSON, a JSON array, an OData page
    or one record; a line of NDJSON may itself be an OData page. `on_progress` is called with the number of bytes read
    so far. Raises OSError if the file cannot be read.
    """
    begin = len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
    file.seek(begin)
    first_line = file.readline(_MAX_FIRST_LINE_BYTES)
    while first_line and not first_line.strip():
        first_line = file.readline(_MAX_FIRST_LINE_BYTES)
    is_ndjson = _has_more(file) and first_line.lstrip()[:1] != b"[" and _is_json(first_line)
    file.seek(begin)
    yield from (_read_lines if is_ndjson else _read_document)(file, on_progress)


def _has_more(file: IO[bytes]) -> bool:
    """Return True if anything but blanks comes after the current position of `file`."""
    while chunk := file.read(_CHUNK_BYTES):
        if chunk.strip():
            return True
    return False


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _read_lines(file: IO[bytes], on_progress: OnProgress) -> Iterator[PropertyRecord | Unusable]:
    """Yield the property records of an NDJSON file, in which each line holds a record or an OData page.

    For each line or row that is no property record, yield an Unusable. `on_progress` is called after each line with the
    number of bytes read so far.
    """
    read_bytes = 0
    for number, line in enumerate(file, 1):
        read_bytes += len(line)
        if line.strip():
            try:
                value = repaired(json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Unusable(f"line {number}", f"not JSON: {error}")
            else:
                rows = value["value"] if isinstance(value, dict) and isinstance(value.get("value"), list) else [value]
                yield from (_checked(row, f"line {number}") for row in rows)
        on_progress(read_bytes)


def _read_document(file: IO[bytes], on_progress: OnProgress) -> Iterator[PropertyRecord | Unusable]:
    """Yield the property records of a file that is one JSON document.

    For each item that is no property record, yield an Unusable. At a place that is not JSON, yield a BrokenEnd and end.
    `on_progress` is called after each record with the number of bytes read so far.
    """
    number = 0
    try:
        for number, row in enumerate(json_stream.items(file), 1):
            yield _checked(repaired(row), f"record {number}")
            on_progress(file.tell())
    except (NotJson, RecursionError) as error:
        yield BrokenEnd(f"after record {number}", f"not JSON: {' '.join(str(error).split())[:200]}")


def _checked(row: object, where: str) -> PropertyRecord | Unusable:
    if not isinstance(row, dict):
        return Unusable(where, f"a Property record must be an object, not {type(row).__name__}")
    return row if row.get("ListingKey") else Unusable(where, "it has no ListingKey")
