"""Reads the dead letters that are not handled yet, groups them, requeues them to their topics, or drops them.

Kafka keeps every dead letter until it expires; MongoDB keeps which of them are handled.
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
_MAX_TEXT_BYTES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """Names the record that became a dead letter, by its full topic name (with the prefix), partition and offset."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter, with the key and value of its source record, which is the record that could not be understood.

    `place` is the dead letter's own place on the topic `dead-letter`, `service` the service that wrote it. `source` is
    None if the headers do not name the source record.
    """

    place: RecordPlace
    reason: str
    service: str
    source: SourceRecord | None
    key: bytes | None
    value: bytes | None

    def names(self, listing_key: str) -> bool:
        """Return True if this dead letter is about a listing with the ListingKey `listing_key`, in any feed.

        That is so if the dead letter's record key is the ListingKey, or its value contains the ListingKey as a JSON
        string at any place.
        """
        if self.key == listing_key.encode():
            return True
        return self.value is not None and orjson.dumps(listing_key) in self.value


GroupKey = tuple[str, str, str]
"""A group's reason, service and topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Counts the dead letters that one service wrote for one reason about records of one topic.

    Reasons that differ only in their numbers make one group, whose reason has `#` in place of each number. `topic` is
    the source records' full topic name. `dead-letters list --json` prints the names of these fields.
    """

    reason: str
    service: str
    topic: str
    letters: int
    oldest: datetime
    newest: datetime
    example: int
    """The offset of the newest dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Selects the dead letters that meet three conditions: on their offset, their reason and their service.

    `offsets` are offsets of the topic `dead-letter`. `reason` is a part of the reason why the record became a dead
    letter. `service` is the service that wrote the dead letter. An empty condition is met by every dead letter.
    """

    offsets: frozenset[int] = frozenset()
    reason: str = ""
    service: str = ""

    def selects(self, letter: DeadLetter) -> bool:
        """Return True if the dead letter meets all conditions of this filter.

        The dead letter's reason must contain the filter's reason; upper and lower case are the same. Its service must
        be the filter's service.
        """
        return (
            (not self.offsets or letter.place.offset in self.offsets)
            and self.reason.casefold() in letter.reason.casefold()
            and self.service in ("", letter.service)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued:
    """Counts what a requeue did, or would do: records that were sent, and dead letters that were marked as handled."""

    sent: int = 0
    marked: int = 0
    refused: tuple[tuple[str, int], ...] = ()
    """Pairs: the reason why some dead letters cannot be sent, and the number of these dead letters."""


def read(record: Record) -> DeadLetter:
    """Return a record of the topic `dead-letter` as a DeadLetter. Pure.

    Without the record's headers, the reason is `no reason given`, the service is `unknown`, and `source` is None.
    """
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    try:
        source = SourceRecord(
            topic=headers["dead_letter_topic"],
            partition=int(headers["dead_letter_partition"]),
            offset=int(headers["dead_letter_offset"]),
        )
    except (KeyError, ValueError):
        source = None
    return DeadLetter(
        place=RecordPlace(record.partition, record.offset, record.at),
        reason=headers.get("dead_letter_reason", "no reason given"),
        service=headers.get("dead_letter_service", "unknown"),
        source=source,
        key=record.key,
        value=record.value,
    )


def group_key(letter: DeadLetter) -> GroupKey:
    """Return the key of the group that a dead letter belongs to: reason, service and source topic. Pure.

    The reason has `#` in place of each number; the topic is `unknown` if the dead letter names no source record.
    """
    return _DIGITS.sub("#", letter.reason), letter.service, letter.source.topic if letter.source else "unknown"


def add_to_group(groups: dict[GroupKey, Group], letter: DeadLetter) -> None:
    """Count a dead letter in its group: change `groups`, and add the group if it is missing.

    The dead letter becomes the example of its group. Once two reasons of the group differ, the group's reason has `#`
    in place of each number.
    """
    key, at = group_key(letter), letter.place.at
    general_reason, service, topic = key
    group = groups.get(key)
    groups[key] = Group(
        reason=letter.reason if group is None or group.reason == letter.reason else general_reason,
        service=service,
        topic=topic,
        letters=group.letters + 1 if group else 1,
        oldest=min(group.oldest, at) if group else at,
        newest=max(group.newest, at) if group else at,
        example=letter.place.offset,
    )


def to_json(letter: DeadLetter) -> dict[str, Any]:
    """Return all facts of a dead letter as `dead-letters show --json` prints them, its value decoded if possible. Pure.

    Of a value that is not JSON, only the first 20,000 bytes are returned: as text, or in base64 if they are not UTF-8.
    """
    source = letter.source
    return {
        "offset": letter.place.offset,
        "at": letter.place.at,
        "reason": letter.reason,
        "service": letter.service,
        "topic": source.topic if source else None,
        "partition": source.partition if source else None,
        "topic_offset": source.offset if source else None,
        "key": _as_text(letter.key),
        "bytes": len(letter.value or b""),
        "value": _decoded(letter.value),
    }


def _decoded(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        begin = value[:_MAX_TEXT_BYTES]
        text = _as_text(begin)
        return text if text is not None else {"base64": base64.b64encode(begin).decode()}


def _as_text(raw: bytes | None) -> str | None:
    try:
        return raw.decode() if raw is not None else None
    except UnicodeDecodeError:
        return None


async def unhandled(settings: Settings, handled: HandledDeadLetters) -> AsyncIterator[Sequence[DeadLetter]]:
    """Read the whole topic `dead-letter` once, and yield the dead letters that are not handled.

    Each batch is yielded as it is read, and may be empty. The dead letters of one partition come oldest first.
    `handled` is the store of handled dead letters in MongoDB. Raises BrokerUnavailable if Kafka does not answer, and
    StoreUnavailable if MongoDB does not.
    """
    topic = settings.topic(DEAD_LETTER)
    oldest = await kafka.oldest_record_at(settings.kafka, topic)
    places = await handled.since(oldest) if oldest else ()
    async for records in kafka.read(
        settings.kafka, topic, await kafka.offset_ranges(settings.kafka, topic, None, None)
    ):
        yield [letter for record in records if (letter := read(record)).place not in places]


async def count(settings: Settings, handled: HandledDeadLetters) -> int:
    """Return how many dead letters on the topic `dead-letter` are not handled, by offsets, without reading the topic.

    Raises BrokerUnavailable if Kafka does not answer, and StoreUnavailable if MongoDB does not.
    """
    topic = settings.topic(DEAD_LETTER)
    oldest = await kafka.oldest_record_at(settings.kafka, topic)
    if oldest is None:
        return 0
    ranges = await kafka.offset_ranges(settings.kafka, topic, None, None)
    still_stored = [place for place in await handled.since(oldest) if any(_has(offsets, place) for offsets in ranges)]
    return sum(offsets.end - offsets.start for offsets in ranges) - len(still_stored)


def _has(offsets: OffsetRange, place: RecordPlace) -> bool:
    return place.partition == offsets.partition and offsets.start <= place.offset < offsets.end


async def groups(settings: Settings, handled: HandledDeadLetters) -> Sequence[Group]:
    """Read all dead letters that are not handled, and return them counted in groups, the largest group first.

    Raises BrokerUnavailable if Kafka does not answer, and StoreUnavailable if MongoDB does not.
    """
    found: dict[GroupKey, Group] = {}
    async for letters in unhandled(settings, handled):
        for letter in letters:
            add_to_group(found, letter)
    return sorted(found.values(), key=lambda group: -group.letters)


async def at_offset(settings: Settings, offset: int) -> DeadLetter | None:
    """Return the dead letter at an offset of the topic `dead-letter`, handled or not; None if there is none any more.

    Raises BrokerUnavailable.
    """
    topic = settings.topic(DEAD_LETTER)
    for offsets in await kafka.offset_ranges(settings.kafka, topic, None, None):
        if offsets.start <= offset < offsets.end:
            only = [OffsetRange(offsets.partition, offset, offset + 1)]
            found = [record async for records in kafka.read(settings.kafka, topic, only) for record in records]
            return read(found[0]) if found else None
    return None


async def naming(settings: Settings, handled: HandledDeadLetters, listing_key: str) -> Sequence[DeadLetter]:
    """Return the dead letters that are not handled and whose key or value names the ListingKey `listing_key`.

    Raises BrokerUnavailable if Kafka does not answer, and StoreUnavailable if MongoDB does not.
    """
    return [
        letter async for letters in unhandled(settings, handled) for letter in letters if letter.names(listing_key)
    ]  # fmt: skip


async def requeue(
    settings: Settings,
    handled: HandledDeadLetters,
    broker: Broker,
    selected: DeadLetterFilter,
    *,
    dry_run: bool,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Requeued:
    """Send the source records of the selected dead letters to their topics again, and return the counts.

    Value and key are unchanged. A record can have several dead letters, because each service that reads a topic writes
    one of its own. The record is sent once, and all its dead letters are marked as handled. A dry run only counts. An
    interrupted requeue can be run again; a record that is sent twice does no harm. `on_progress` is called with the
    number of records sent so far. Raises BrokerUnavailable if Kafka does not answer, and StoreUnavailable if MongoDB
    does not.
    """
    sources, refused = await _sources(settings, handled, selected)
    sent, marked = set[SourceRecord](), 0
    async for letters in unhandled(settings, handled):
        pairs = [(letter, letter.source) for letter in letters if letter.source in sources]
        to_send = {source: letter for letter, source in reversed(pairs) if source and source not in sent}
        if not dry_run:
            await broker.publish([_source_record(source, letter) for source, letter in to_send.items()])
            await handled.add([letter.place for letter, _ in pairs], "requeued")
        sent |= to_send.keys()
        marked += len(pairs)
        on_progress(len(sent))
    return Requeued(sent=len(sent), marked=marked, refused=tuple(refused.items()))


def _source_record(source: SourceRecord, letter: DeadLetter) -> Outgoing:
    """Return the source record of a dead letter, to be published on its topic again with key and value unchanged.

    `source` names the source record. The headers of the result give the record's first position, so that services do
    not take it for the newest record: partition and offset of `source`, and the time of the dead letter, because the
    time of the source record is not known.
    """
    position = Position(letter.place.at, source.partition, source.offset)
    return Outgoing(source.topic, letter.key, letter.value, first_position_headers(position))


async def _sources(
    settings: Settings, handled: HandledDeadLetters, selected: DeadLetterFilter
) -> tuple[set[SourceRecord], Counter[str]]:
    """Return the source records to send for the selected dead letters, and counts of those with no record to send.

    Handled dead letters are left out. The counts are by the reason why no record can be sent, a phrase for the
    operator: the headers do not name the source record, or its topic is not of this system. Raises BrokerUnavailable
    if Kafka does not answer, and StoreUnavailable if MongoDB does not.
    """
    topics = {settings.topic(topic.name) for topic in MANIFEST if topic.name != DEAD_LETTER}
    sources, refused = set[SourceRecord](), Counter[str]()
    async for letters in unhandled(settings, handled):
        for letter in filter(selected.selects, letters):
            if letter.source is None:
                refused["its headers do not say which topic it came from"] += 1
            elif letter.source.topic not in topics:
                refused[f"it came from {letter.source.topic}, which is no topic of this system"] += 1
            else:
                sources.add(letter.source)
    return sources, refused


async def drop(settings: Settings, handled: HandledDeadLetters, selected: DeadLetterFilter, *, dry_run: bool) -> int:
    """Mark the selected dead letters as handled in MongoDB without sending their records, and return their number.

    A dry run only counts. Raises BrokerUnavailable if Kafka does not answer, and StoreUnavailable if MongoDB does not.
    """
    dropped = 0
    async for letters in unhandled(settings, handled):
        places = [letter.place for letter in letters if selected.selects(letter)]
        if not dry_run:
            await handled.add(places, "dropped")
        dropped += len(places)
    return dropped
