"""Events published again, paced, and from where it was left; `replay_plan` says beforehand what that would do."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from shared import kafka
from shared.events.codec import AnyEvent, Undecodable, decode
from shared.events.images import ImageDownloaded, ImageOutdated, ImageRemoved
from shared.events.listings import ListingSeen
from shared.events.records import Record, first_position_headers
from shared.events.topics import IMAGE_DOWNLOADED, IMAGE_OUTDATED, IMAGE_OUTDATED_VIEWED, IMAGE_REMOVED, LISTING_SEEN
from shared.kafka import Broker, OffsetRange, Outgoing

CARRIES: Mapping[str, type[AnyEvent]] = {
    LISTING_SEEN: ListingSeen,
    IMAGE_OUTDATED: ImageOutdated,
    IMAGE_OUTDATED_VIEWED: ImageOutdated,
    IMAGE_DOWNLOADED: ImageDownloaded,
    IMAGE_REMOVED: ImageRemoved,
}
"""What each topic carries that can be replayed; dead letters are requeued instead."""
_AT_ONCE = 500

Read = Callable[[Sequence[OffsetRange]], AsyncIterator[Sequence[Record]]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the events are: a topic's partitions, or a file's lines as partition 0."""

    spans: Sequence[OffsetRange]
    read: Read

    @property
    def events(self) -> int:
        """How many there are."""
        return sum(span.end - span.start for span in self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events are meant: those of a listing (by the record's key), of a feed, or all."""

    listing_key: str | None = None
    feed: str | None = None

    def covers(self, record: Record, carried: type[AnyEvent]) -> bool:
        """Whether the event is meant; with a feed given, one that cannot be read is not."""
        if self.listing_key is not None and record.key != self.listing_key.encode():
            return False
        if self.feed is None:
            return True
        event = decode(record.value, carried, record.at)
        return not isinstance(event, Undecodable) and event.data.feed == self.feed


@dataclass(slots=True)
class Replayed:
    """How far a replay is; `left` is where it goes on."""

    left: list[OffsetRange]
    published: int = 0
    looked_at: int = 0


async def run(
    topic: str,
    full_topic: str,
    source: Source,
    wanted: Filter,
    broker: Broker,
    rate: float,
    done: Replayed,
    tell: Callable[[], object] = lambda: None,
) -> None:
    """Publish the events again, value and key unchanged, at most `rate` a second (0: as fast as Kafka takes them).

    Each says where it stood at first, so that an old one without timestamps is not taken for the newest.

    `done` says at every moment where to go on: what is behind it is on the topic. Raises BrokerUnavailable.
    """
    began, at_once = time.monotonic(), max(1, min(_AT_ONCE, int(rate / 4))) if rate else _AT_ONCE
    async for records in source.read(source.spans):
        for first in range(0, len(records), at_once):
            some = records[first : first + at_once]
            meant = [record for record in some if wanted.covers(record, CARRIES[topic])]
            await broker.publish(
                [
                    Outgoing(full_topic, record.key, record.value, first_position_headers(record.position))
                    for record in meant
                ]
            )
            done.published += len(meant)
            done.looked_at += len(some)
            done.left = _behind(done.left, some[-1])
            tell()
            if rate:
                await asyncio.sleep(max(0.0, began + done.published / rate - time.monotonic()))


def _behind(left: Sequence[OffsetRange], last: Record) -> list[OffsetRange]:
    is_newer = [
        replace(span, start=max(span.start, last.offset + 1)) if span.partition == last.partition else span
        for span in left
    ]
    return [span for span in is_newer if span.start < span.end]


def from_topic(bootstrap: str, full_topic: str, spans: Sequence[OffsetRange]) -> Source:
    """Return the events of a topic."""
    return Source(spans, lambda wanted: kafka.read(bootstrap, full_topic, wanted))


def spans_text(spans: Sequence[OffsetRange]) -> str:
    """Write where a replay goes on, for `--resume`."""
    return ",".join(f"{span.partition}:{span.start}-{span.end}" for span in spans)


def parse_spans(text: str) -> list[OffsetRange]:
    """Read what `spans_text` wrote. Raises ValueError."""
    try:
        parts = [part.partition(":") for part in text.split(",")]
        return [OffsetRange(int(partition), *map(int, offsets.split("-"))) for partition, _, offsets in parts]
    except (ValueError, TypeError):
        raise ValueError(
            f"--resume {text!r} is not what an interrupted replay printed, such as 0:120-900,1:80-850"
        ) from None
