"""Records to replay, a source that reads them, and a broker that keeps what is published."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from ops import replay
from ops.replay import EventFilter, EventSource, Replay, ReplayProgress
from shared.events.codec import encode
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.events.topics import LISTING_SEEN
from shared.kafka import OffsetRange, Outgoing
from tests.builders import FEED, KEY, NOW

ALL = EventFilter()


def records(*values: bytes | None, at: datetime = NOW, key: str = KEY) -> list[Record]:
    """Return records of a topic with these values, from offset 0 on, all with the key of one listing."""
    return [Record("t", 0, offset, at, key.encode(), value) for offset, value in enumerate(values)]


def listing_records(announced: Sequence[dict[str, Any]], at: datetime = NOW) -> list[Record]:
    """Return `listing-seen` records of a topic, one for each property record, from offset 0 on, keyed by ListingKey."""
    return [
        Record("t", 0, offset, at, record["ListingKey"].encode(), seen(record))
        for offset, record in enumerate(announced)
    ]


def seen(record: dict[str, Any], feed: str = FEED) -> bytes:
    """Return the value of a `listing-seen` event with this property record."""
    return encode(ListingSeen(feed=feed, record=record), source="test", now=NOW)


def a_source(of: Sequence[Record], batch_size: int = 1_000) -> EventSource:
    """Return a source of a replay that reads these records, in batches of at most `batch_size`."""

    async def read(ranges: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
        for offsets in ranges:
            wanted = [record for record in of if offsets.start <= record.offset < offsets.end]
            for first in range(0, len(wanted), batch_size):
                yield wanted[first : first + batch_size]

    return EventSource([OffsetRange(0, 0, len(of))], read)


class KeepingBroker:
    """A broker that keeps what is published in `records`.

    Once `records` has `interrupted_at` records, each call raises KeyboardInterrupt, as if the operator pressed Ctrl-C.
    """

    def __init__(self, interrupted_at: int = 1_000) -> None:
        self.records: list[Outgoing] = []
        self._interrupted_at = interrupted_at

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        if len(self.records) >= self._interrupted_at:
            raise KeyboardInterrupt
        self.records += outgoing


async def published(
    of: Sequence[Record],
    ranges: Sequence[OffsetRange] | None = None,
    selected: EventFilter = ALL,
    rate: float = 0.0,
    broker: KeepingBroker | None = None,
    progress: ReplayProgress | None = None,
) -> KeepingBroker:
    """Replay the records that lie in `ranges`, if given, and that `selected` selects.

    Return the broker that keeps what was published: `broker`, if given, else a new one. `rate` is the events a second,
    0 for no limit. `progress` is filled in as the replay goes on.
    """
    broker, source = broker or KeepingBroker(), a_source(of)
    source = EventSource(source.ranges if ranges is None else ranges, source.read)
    progress = progress or ReplayProgress([])
    progress.remaining = list(source.ranges)
    replayed = Replay(LISTING_SEEN, source, selected)
    await replay.publish(replayed, "t.listing-seen", broker, rate, progress)  # type: ignore[arg-type]
    return broker
