"""Writes records as lines of JSON and reads them back, so that events can be kept, repaired or replayed elsewhere."""

import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import orjson

from ops.replay import EventSource
from shared.domain.freshness import Position
from shared.events.records import Record, first_position_headers
from shared.kafka import OffsetRange

_BATCH_SIZE = 500


class NotExported(ValueError):
    """Says that a line of a file is not what `imagectl export` writes, with the line's number and the reason."""


def to_line(record: Record) -> bytes:
    """Return a Kafka record as one line of JSON that ends in a newline: its position, key and value. Pure.

    The position is `at`, `partition` and `offset`. For a record that was replayed or requeued, the position is that of
    its first publication. `key` and `value` are texts, or null if the record has none. Bytes that are not UTF-8 are in
    base64, as `key_base64` or `value_base64` instead. Headers are left out.
    """
    facts = asdict(record.position)
    return orjson.dumps({**facts, **_encoded("key", record.key), **_encoded("value", record.value)}) + b"\n"


def _encoded(name: str, raw: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if raw is None else raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw or b"").decode()}


def from_file(path: Path) -> EventSource:
    """Return the lines of a file that `imagectl export` wrote as the source of a replay.

    The line numbers, from 0, serve as offsets of partition 0. A line's record has the time `at`; if an operator removed
    `at` from the line, the record has the time now. Raises OSError if the file cannot be read. Reading the source
    raises NotExported for a wrong line.
    """
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    return EventSource([OffsetRange(0, 0, lines)] if lines else [], lambda ranges: _read_batches(path, ranges))


async def _read_batches(path: Path, ranges: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
    for offsets in ranges:
        with path.open("rb") as file:
            records = _read_lines(islice(enumerate(file), offsets.start, offsets.end))
            while batch := list(islice(records, _BATCH_SIZE)):
                yield batch


def _read_lines(numbered: Iterator[tuple[int, bytes]]) -> Iterator[Record]:
    """Yield the record of each line; raise NotExported at the first line that cannot be read.

    `numbered` yields each line of a file with the line's number, from 0, which becomes the record's offset. The
    record's time is the line's `at`, or now if the line has no `at`. The record's headers give the position in the line
    as the record's first position.
    """
    for number, raw in numbered:
        try:
            facts = orjson.loads(raw)
            at = datetime.fromisoformat(facts["at"]).astimezone(UTC) if "at" in facts else datetime.now(UTC)
            position = Position(at, int(facts.get("partition", 0)), int(facts.get("offset", number)))
            headers = first_position_headers(position)
            yield Record("", 0, number, at, _decoded(facts, "key"), _decoded(facts, "value"), headers)
        except (ValueError, TypeError, AttributeError) as error:
            raise NotExported(f"line {number + 1} is not what `imagectl export` writes: {error}") from None


def _decoded(facts: dict[str, str | None], name: str) -> bytes | None:
    if encoded := facts.get(f"{name}_base64"):
        return base64.b64decode(encoded, validate=True)
    text = facts.get(name)
    return None if text is None else text.encode()
