"""Events as lines of JSON, and back: to keep them, look at them, repair them, or replay them elsewhere."""

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

_AT_ONCE = 500


class NotExported(ValueError):
    """A line that `imagectl export` did not write."""


def line(record: Record) -> bytes:
    """Write a record as one line; bytes that are no text are written in base64."""
    facts = asdict(record.position)
    return orjson.dumps({**facts, **_written("key", record.key), **_written("value", record.value)}) + b"\n"


def _written(name: str, raw: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if raw is None else raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw or b"").decode()}


def from_file(path: Path) -> EventSource:
    """Return the events of a file; its lines are partition 0. Raises OSError, and reading it raises NotExported.

    A line is as old as its `at` says; one without is said now, as one is that an operator has changed.
    """
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    return EventSource([OffsetRange(0, 0, lines)] if lines else [], lambda spans: _records(path, spans))


async def _records(path: Path, spans: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
    for span in spans:
        with path.open("rb") as file:
            records = _read(islice(enumerate(file), span.start, span.end))
            while some := list(islice(records, _AT_ONCE)):
                yield some


def _read(numbered: Iterator[tuple[int, bytes]]) -> Iterator[Record]:
    for number, raw in numbered:
        try:
            facts = orjson.loads(raw)
            at = datetime.fromisoformat(facts["at"]).astimezone(UTC) if "at" in facts else datetime.now(UTC)
            stood = first_position_headers(
                Position(at, int(facts.get("partition", 0)), int(facts.get("offset", number)))
            )
            yield Record("", 0, number, at, _bytes(facts, "key"), _bytes(facts, "value"), stood)
        except (ValueError, TypeError, AttributeError) as fault:
            raise NotExported(f"line {number + 1} is not what `imagectl export` writes: {fault}") from None


def _bytes(facts: dict[str, str | None], name: str) -> bytes | None:
    if encoded := facts.get(f"{name}_base64"):
        return base64.b64decode(encoded, validate=True)
    text = facts.get(name)
    return None if text is None else text.encode()
