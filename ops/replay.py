"""Publishes events of a topic again, at a limited rate; an interrupted replay can be resumed.

`replay_plan` says beforehand what a replay would change.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared import kafka
from shared.events.codec import AnyEvent, Undecodable, decode
from shared.events.images import ImageDownloaded, ImageOutdated, ImageRemoved
from shared.events.listings import ListingSeen
from shared.events.records import Record, first_position_headers
from shared.events.topics import IMAGE_DOWNLOADED, IMAGE_OUTDATED, IMAGE_OUTDATED_VIEWED, IMAGE_REMOVED, LISTING_SEEN
from shared.kafka import Broker, OffsetRange, Outgoing

EVENT_TYPES: Mapping[str, type[AnyEvent]] = {
    LISTING_SEEN: ListingSeen,
    IMAGE_OUTDATED: ImageOutdated,
    IMAGE_OUTDATED_VIEWED: ImageOutdated,
    IMAGE_DOWNLOADED: ImageDownloaded,
    IMAGE_REMOVED: ImageRemoved,
}
"""The topics that can be replayed, and the type of their events. Dead letters are requeued instead."""
_BATCH_SIZE = 500

ReadRecords = Callable[[Sequence[OffsetRange]], AsyncIterator[Sequence[Record]]]
"""A function that takes ranges of offsets and yields their records in batches. It may be called several times."""


@dataclass(frozen=True, slots=True)
class EventSource:
    """The source of a replay's events: a topic, or a file whose line numbers serve as offsets of partition 0.

    `ranges` are all offsets of the source. `read` takes some of these ranges, and yields their records in batches.
    """

    ranges: Sequence[OffsetRange]
    read: ReadRecords

    @property
    def size(self) -> int:
        """The number of offsets in the ranges; a topic may hold fewer records than offsets."""
        return sum(offsets.end - offsets.start for offsets in self.ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Selects events of one listing, by the record's key, and of one feed; None means any listing, or any feed."""

    listing_key: str | None = None
    feed: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """The events that a replay publishes again: the events of `source` that `filter` selects.

    `topic` is the name of the topic without the prefix; it determines the type of the events.
    """

    topic: str
    source: EventSource
    filter: EventFilter = field(default_factory=EventFilter)

    def selects(self, record: Record) -> bool:
        """Return True if this replay's filter selects the record. Pure.

        A record whose value cannot be decoded belongs to no feed: a filter with a feed does not select it.
        """
        if self.filter.listing_key is not None and record.key != self.filter.listing_key.encode():
            return False
        if self.filter.feed is None:
            return True
        event = decode(record.value, EVENT_TYPES[self.topic], record.at)
        return not isinstance(event, Undecodable) and event.data.feed == self.filter.feed


@dataclass(slots=True)
class ReplayProgress:
    """How far a replay is: how many records it has read and published, and the ranges that it has still to read.

    `publish` changes this object after each batch. An interrupted replay is resumed by a replay of `remaining`.
    """

    remaining: list[OffsetRange]
    published: int = 0
    read: int = 0


async def publish(
    replay: Replay,
    full_topic: str,
    broker: Broker,
    rate: float,
    progress: ReplayProgress,
    on_progress: Callable[[], object] = lambda: None,
) -> None:
    """Publish the selected events of a replay to a Kafka topic, value and key unchanged.

    `full_topic` is the topic's name with the prefix. `rate` is the highest number of events published in a second; 0
    means no limit. Each record's headers name its first position, so that an old event without timestamps is not taken
    for the newest. After each batch `progress` is updated, and then `on_progress` is called. An interrupted replay is
    resumed with the ranges `progress.remaining`. Raises BrokerUnavailable.
    """
    began = time.monotonic()
    batch_size = max(1, min(_BATCH_SIZE, int(rate / 4))) if rate else _BATCH_SIZE
    async for records in replay.source.read(replay.source.ranges):
        for first in range(0, len(records), batch_size):
            batch = records[first : first + batch_size]
            selected = [record for record in batch if replay.selects(record)]
            await broker.publish([_outgoing(full_topic, record) for record in selected])
            progress.published += len(selected)
            progress.read += len(batch)
            progress.remaining = _after(progress.remaining, batch[-1])
            on_progress()
            if rate:
                await asyncio.sleep(max(0.0, began + progress.published / rate - time.monotonic()))


def _outgoing(full_topic: str, record: Record) -> Outgoing:
    return Outgoing(full_topic, record.key, record.value, first_position_headers(record.position))


def _after(ranges: Sequence[OffsetRange], last: Record) -> list[OffsetRange]:
    """Return the parts of the ranges that are still to be read after the record `last`.

    In the partition of `last`, offsets up to that of `last` are cut off. Ranges of other partitions stay as they are. A
    range of which nothing remains is left out.
    """
    remaining = [
        replace(offsets, start=max(offsets.start, last.offset + 1)) if offsets.partition == last.partition else offsets
        for offsets in ranges
    ]
    return [offsets for offsets in remaining if offsets.start < offsets.end]


def from_topic(bootstrap: str, full_topic: str, ranges: Sequence[OffsetRange]) -> EventSource:
    """Return the source of a replay that has these ranges of a Kafka topic. No record is read yet.

    `bootstrap` is Kafka's address, `full_topic` the topic's name with the prefix.
    """
    return EventSource(ranges, lambda to_read: kafka.read(bootstrap, full_topic, to_read))


def ranges_text(ranges: Sequence[OffsetRange]) -> str:
    """Return ranges as the text that `--resume` takes, such as 0:120-900,1:80-850. Pure.

    A range is written as its partition, its first offset, and the offset after its last one.
    """
    return ",".join(f"{offsets.partition}:{offsets.start}-{offsets.end}" for offsets in ranges)


def parse_ranges(text: str) -> list[OffsetRange]:
    """Return the ranges in a text that `ranges_text` wrote. Raises ValueError with a sentence for the operator."""
    try:
        parts = [part.partition(":") for part in text.split(",")]
        return [OffsetRange(int(partition), *map(int, offsets.split("-"))) for partition, _, offsets in parts]
    except (ValueError, TypeError):
        raise ValueError(
            f"--resume {text!r} is not what an interrupted replay printed, such as 0:120-900,1:80-850"
        ) from None
