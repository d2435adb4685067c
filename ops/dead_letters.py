"""What could not be read, and what becomes of it: grouped, shown, sent again once it is repaired, or dropped.

Kafka keeps every record until it expires, so what an operator has dealt with is marked in MongoDB.
"""

import base64
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from shared import kafka
from shared.domain.freshness import Position
from shared.events.records import Record, first_position_headers
from shared.events.topics import DEAD_LETTER, MANIFEST
from shared.kafka import Broker, OffsetRange, Outgoing
from shared.settings import Settings
from shared.stores.handled_dead_letters import HandledDeadLetters, RecordPlace

_DIGITS = re.compile(r"\d+")
_LONGEST_SHOWN = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a record stood before it became a dead letter; `topic` is the full name."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter. `origin` is null where its headers do not say where it came from."""

    place: RecordPlace
    reason: str
    service: str
    origin: Origin | None
    key: bytes | None
    value: bytes | None

    def names(self, listing_key: str) -> bool:
        """Whether it speaks of the listing, by its key or anywhere in its value."""
        wanted = listing_key.encode()
        return self.key == wanted or (self.value is not None and orjson.dumps(listing_key) in self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dead letters of one service for one reason; numbers in reasons do not tell them apart."""

    reason: str
    service: str
    topic: str
    letters: int
    oldest: datetime
    newest: datetime
    example: int
    """The offset of the newest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which dead letters are meant: all filters that are given must fit."""

    offsets: frozenset[int] = frozenset()
    reason: str = ""
    service: str = ""

    def covers(self, letter: DeadLetter) -> bool:
        """Whether the dead letter is meant; of a reason, any part will do."""
        return (
            (not self.offsets or letter.place.offset in self.offsets)
            and self.reason.casefold() in letter.reason.casefold()
            and self.service in ("", letter.service)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued:
    """What came of it: records sent again, dead letters marked by that, and those that cannot be sent, by why."""

    sent: int = 0
    marked: int = 0
    refused: tuple[tuple[str, int], ...] = ()


def read(record: Record) -> DeadLetter:
    """Read one record of the topic, whatever is in it. Pure."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    try:
        origin = Origin(
            topic=headers["dead_letter_topic"],
            partition=int(headers["dead_letter_partition"]),
            offset=int(headers["dead_letter_offset"]),
        )
    except (KeyError, ValueError):
        origin = None
    return DeadLetter(
        place=RecordPlace(record.partition, record.offset, record.at),
        reason=headers.get("dead_letter_reason", "no reason given"),
        service=headers.get("dead_letter_service", "unknown"),
        origin=origin,
        key=record.key,
        value=record.value,
    )


def grouped(groups: dict[tuple[str, str, str], Group], letter: DeadLetter) -> None:
    """Add a dead letter to its group."""
    reason = _DIGITS.sub("#", letter.reason)
    topic = letter.origin.topic if letter.origin else "unknown"
    known = groups.get((reason, letter.service, topic))
    at = letter.place.at
    groups[reason, letter.service, topic] = Group(
        reason=letter.reason if known is None else reason if known.reason != letter.reason else known.reason,
        service=letter.service,
        topic=topic,
        letters=known.letters + 1 if known else 1,
        oldest=min(known.oldest, at) if known else at,
        newest=max(known.newest, at) if known else at,
        example=letter.place.offset,
    )


def described(letter: DeadLetter) -> dict[str, Any]:
    """Return everything that is known of a dead letter, its value decoded as far as possible. Pure."""
    origin = letter.origin
    return {
        "offset": letter.place.offset,
        "at": letter.place.at,
        "reason": letter.reason,
        "service": letter.service,
        "topic": origin.topic if origin else None,
        "partition": origin.partition if origin else None,
        "topic_offset": origin.offset if origin else None,
        "key": _text(letter.key),
        "bytes": len(letter.value or b""),
        "value": _decoded(letter.value),
    }


def _decoded(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        text = _text(value[:_LONGEST_SHOWN])
        return text if text is not None else {"base64": base64.b64encode(value[:_LONGEST_SHOWN]).decode()}


def _text(raw: bytes | None) -> str | None:
    try:
        return raw.decode() if raw is not None else None
    except UnicodeDecodeError:
        return None


async def unhandled(settings: Settings, marks: HandledDeadLetters) -> AsyncIterator[Sequence[DeadLetter]]:
    """Read the dead letters that nobody has dealt with, oldest first, batch by batch.

    Raises BrokerUnavailable and StoreUnavailable.
    """
    topic = settings.topic(DEAD_LETTER)
    oldest = await kafka.oldest_record_at(settings.kafka, topic)
    handled = await marks.since(oldest) if oldest else ()
    async for records in kafka.read(
        settings.kafka, topic, await kafka.offset_ranges(settings.kafka, topic, None, None)
    ):
        yield [letter for record in records if (letter := read(record)).place not in handled]


async def count(settings: Settings, marks: HandledDeadLetters) -> int:
    """Return how many dead letters nobody has dealt with. Raises BrokerUnavailable and StoreUnavailable."""
    topic = settings.topic(DEAD_LETTER)
    oldest = await kafka.oldest_record_at(settings.kafka, topic)
    if oldest is None:
        return 0
    there = await kafka.offset_ranges(settings.kafka, topic, None, None)
    handled = Counter(any(_holds(span, place) for span in there) for place in await marks.since(oldest))
    return sum(span.end - span.start for span in there) - handled[True]


def _holds(span: OffsetRange, place: RecordPlace) -> bool:
    return place.partition == span.partition and span.start <= place.offset < span.end


async def groups(settings: Settings, marks: HandledDeadLetters) -> Sequence[Group]:
    """Return what nobody has dealt with, by reason and service, the largest group first."""
    found: dict[tuple[str, str, str], Group] = {}
    async for letters in unhandled(settings, marks):
        for letter in letters:
            grouped(found, letter)
    return sorted(found.values(), key=lambda group: -group.letters)


async def one(settings: Settings, offset: int) -> DeadLetter | None:
    """Return the dead letter at an offset, handled or not; None where there is none."""
    topic = settings.topic(DEAD_LETTER)
    for span in await kafka.offset_ranges(settings.kafka, topic, None, None):
        if span.start <= offset < span.end:
            wanted = [OffsetRange(span.partition, offset, offset + 1)]
            found = [read(one) async for records in kafka.read(settings.kafka, topic, wanted) for one in records]
            return found[0] if found else None
    return None


async def naming(settings: Settings, marks: HandledDeadLetters, listing_key: str) -> Sequence[DeadLetter]:
    """Return the dead letters that speak of a listing."""
    return [one async for letters in unhandled(settings, marks) for one in letters if one.names(listing_key)]


async def requeue(
    settings: Settings,
    marks: HandledDeadLetters,
    broker: Broker,
    chosen: Chosen,
    *,
    dry_run: bool,
    tell: Callable[[int], object] = lambda _: None,
) -> Requeued:
    """Send what is chosen to the topic it came from, value and key unchanged, and mark it.

    Each reading service writes a dead letter of its own: a record is sent once, and all of its dead letters are marked.
    Ended in the middle, it can be run again; what was sent twice does no harm.
    """
    known = {settings.topic(topic.name) for topic in MANIFEST if topic.name != DEAD_LETTER}
    origins, refused = await _origins(settings, marks, chosen, known)
    sent, marked = set[Origin](), 0
    async for letters in unhandled(settings, marks):
        ours = [(one, one.origin) for one in letters if one.origin in origins]
        first = {origin: one for one, origin in reversed(ours) if origin and origin not in sent}
        if not dry_run:
            await broker.publish([_again(origin, letter) for origin, letter in first.items()])
            await marks.add([one.place for one, _ in ours], "requeued")
        sent |= first.keys()
        marked += len(ours)
        tell(len(sent))
    return Requeued(sent=len(sent), marked=marked, refused=tuple(refused.items()))


def _again(origin: Origin, letter: DeadLetter) -> Outgoing:
    """Return the record as it was, and as old as it was: it became a dead letter when it arrived."""
    stood = Position(letter.place.at, origin.partition, origin.offset)
    return Outgoing(origin.topic, letter.key, letter.value, first_position_headers(stood))


async def _origins(
    settings: Settings, marks: HandledDeadLetters, chosen: Chosen, known: set[str]
) -> tuple[set[Origin], Counter[str]]:
    """Return where what is chosen came from, and why the rest cannot be sent."""
    origins, refused = set[Origin](), Counter[str]()
    async for letters in unhandled(settings, marks):
        for letter in filter(chosen.covers, letters):
            if letter.origin is None:
                refused["its headers do not say which topic it came from"] += 1
            elif letter.origin.topic not in known:
                refused[f"it came from {letter.origin.topic}, which is no topic of this system"] += 1
            else:
                origins.add(letter.origin)
    return origins, refused


async def drop(settings: Settings, marks: HandledDeadLetters, chosen: Chosen, *, dry_run: bool) -> int:
    """Mark what is chosen as handled, without sending it; return how many."""
    dropped = 0
    async for letters in unhandled(settings, marks):
        ours = [letter.place for letter in letters if chosen.covers(letter)]
        if not dry_run:
            await marks.add(ours, "dropped")
        dropped += len(ours)
    return dropped
