"""Reads Property records from a file as MLSs and ingests leave them: NDJSON, a JSON array, OData pages."""

import codecs
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ijson

Record = dict[str, Any]
_LONGEST_PROBE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Unusable:
    """A part of the file that is no Property record; `where` names the line or the record."""

    where: str
    reason: str


def read(path: Path, tell: Callable[[int], object] = lambda _: None) -> Iterator[Record | Unusable]:
    """Read the file's records one by one, in flat memory; `tell` hears how many bytes have been read.

    A line of NDJSON may itself be an OData page. Raises OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        begin = len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
        file.seek(begin)
        first = file.readline(_LONGEST_PROBE)
        while first and not first.strip():
            first = file.readline(_LONGEST_PROBE)
        file.seek(begin)
        if first.lstrip()[:1] == b"[":
            yield from _streamed(file, "item", tell)
        elif _is_whole(first):
            yield from _lines(file, tell)
        else:
            yield from _document(file, tell)


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _lines(file: IO[bytes], tell: Callable[[int], object]) -> Iterator[Record | Unusable]:
    read = 0
    for number, line in enumerate(file, 1):
        read += len(line)
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError as fault:
                yield Unusable(f"line {number}", f"not JSON: {fault}")
            else:
                rows = value["value"] if isinstance(value, dict) and isinstance(value.get("value"), list) else [value]
                yield from (_checked(row, f"line {number}") for row in rows)
        tell(read)


def _document(file: IO[bytes], tell: Callable[[int], object]) -> Iterator[Record | Unusable]:
    """One JSON object over several lines: an OData page where it has `value`, else a single record."""
    begin = file.tell()
    is_page = any(prefix == "value" and event == "start_array" for prefix, event, _ in _parsed(file))
    file.seek(begin)
    yield from _streamed(file, "value.item" if is_page else "", tell)


def _parsed(file: IO[bytes]) -> Iterator[tuple[str, str, object]]:
    with suppress(ijson.JSONError):
        yield from ijson.parse(file)


def _streamed(file: IO[bytes], prefix: str, tell: Callable[[int], object]) -> Iterator[Record | Unusable]:
    number = 0
    try:
        for number, row in enumerate(ijson.items(file, prefix, use_float=True), 1):
            yield _checked(row, f"record {number}")
            tell(file.tell())
    except ijson.JSONError as fault:
        yield Unusable(f"after record {number}", f"not JSON: {' '.join(str(fault).split())[:200]}")


def _checked(row: object, where: str) -> Record | Unusable:
    if not isinstance(row, dict):
        return Unusable(where, f"a Property record must be an object, not {type(row).__name__}")
    return row if row.get("ListingKey") else Unusable(where, "it has no ListingKey")
