"""A scheduler with stores in memory that sweeps the sandbox MLS."""

import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Self, cast

from prometheus_client import CollectorRegistry

from local.sandbox import Sandbox
from services.scheduler.sweep_metrics import SweepMetrics
from services.scheduler.sweeps import START_DELAY, Sweeper, SweepStores
from shared.clock import utc_now
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.domain.feed_file import parse_feeds
from shared.domain.listing import Listing
from shared.events.records import Record
from shared.kafka import Broker, BrokerUnavailable, Outgoing
from shared.lease import Lease
from shared.publisher import Publisher
from shared.recording import Recorder
from shared.render import Renderer
from shared.reso.feed_reader import FeedReader
from shared.reso.odata import MlsClient
from shared.stores.memory import MemoryLeases, MemoryListings, MemoryPushedKeys, MemoryRemovalHolds, MemorySweeps
from shared.stores.sweeps import SweepRequest, SweepState
from tests.dialects import DialectMls

PHOTOS = 3


class RecordingBroker:
    """A broker whose records `recorder`, if set, records at once. While `is_unavailable`, it refuses them.

    `published` has all records that it took.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self.published: list[Outgoing] = []
        self.is_unavailable = False
        self._offsets = itertools.count()

    async def publish(self, records: Iterable[Outgoing]) -> None:
        if self.is_unavailable:
            raise BrokerUnavailable("unavailable")
        for record in records:
            self.published.append(record)
            if self.recorder:
                at = utc_now()
                offset = next(self._offsets)
                await self.recorder.record([Record(record.topic, 0, offset, at, record.key, record.value)])

    async def ping(self) -> None:
        return


class SweepingScheduler:
    """A scheduler's sweeps of an MLS, with stores in memory. `now` is the time by its clock; tests move it.

    The MLS is `mls`, an MLS in memory; without it, the one that the feed's `reso_url` names.
    """

    def __init__(self, feed: Feed, mls: DialectMls | None = None, *, pause_seconds: float = 0.0) -> None:
        self.feed, self.now = feed, utc_now()
        self.listings, self.sweeps, self.leases = MemoryListings(Renderer("http://x")), MemorySweeps(), MemoryLeases()
        self.broker, self.registry = RecordingBroker(), CollectorRegistry()
        broker = cast("Broker", self.broker)
        dead_letters = DeadLetters(broker, "", "scheduler", self.clock, CollectorRegistry())
        self.broker.recorder = Recorder(self.listings, {feed.name: feed}, dead_letters, utc_now, CollectorRegistry())
        self.publisher = Publisher(broker, "", "scheduler", self.clock)
        self.metrics, self.removal_holds = SweepMetrics(self.registry), MemoryRemovalHolds()
        self.pushed_keys = MemoryPushedKeys()
        self.readers: list[FeedReader] = []
        self.pause_seconds = pause_seconds
        self.mls = mls
        self.sweeper = self.another("first")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for reader in self.readers:
            await reader.aclose()

    def clock(self) -> datetime:
        return self.now

    def another(self, name: str) -> Sweeper:
        """Return the sweeper of another process, named `name`, that has just started and uses the same stores."""
        reader = None
        if self.feed.reso_url:
            reader = self.mls.reader(self.feed) if self.mls else self._reader_over_http()
            self.readers.append(reader)
        lease = Lease(self.leases, "scheduler", name, self.clock, lambda: self.clock().timestamp())
        stores = SweepStores(self.listings, self.sweeps, self.removal_holds, self.pushed_keys)
        return Sweeper(self.feed, reader, stores, lease, self.publisher, self.clock, self.metrics)

    def _reader_over_http(self) -> FeedReader:
        return FeedReader(self.feed, MlsClient(self.feed, "secret", pause_seconds=self.pause_seconds))

    async def later(self, wait: timedelta) -> None:
        """Move the clock on by `wait`, then run one round of the first process's sweeper."""
        self.now += wait
        await self.sweeper.round()

    async def swept(self) -> SweepState:
        """Request a sweep as an operator does, run it, and return the feed's sweep state after it."""
        self.now += timedelta(seconds=1)
        await self.sweeps.request(self.feed.name, SweepRequest(at=self.now))
        await self.sweeper.round()
        return await self.sweep()

    async def sweep(self) -> SweepState:
        return await self.sweeps.get(self.feed.name)

    async def listing(self, key: str) -> Listing:
        found = await self.listings.get(self.feed.name, key)
        assert found is not None
        return found

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"listing_images_{name}", {"feed": self.feed.name, **labels}) or 0.0

    def published(self) -> int:
        """Return how many listings were published since the last call of this method."""
        count = len(self.broker.published)
        self.broker.published.clear()
        return count


@asynccontextmanager
async def a_recorded_market(mls: Sandbox) -> AsyncIterator[SweepingScheduler]:
    """Yield a scheduler whose first sweep has recorded all listings of the MLS in one round.

    The MLS must have no more listings than a round records.
    """
    async with SweepingScheduler(feed_of(mls)) as scheduler:
        await scheduler.later(START_DELAY)
        assert scheduler.published() == len(keys(mls))
        yield scheduler


def feed_of(mls: Sandbox, **rules: Any) -> Feed:
    return parse_feeds(mls.feeds_toml(reso_url=mls.web_api, **rules))["sandbox"]


def keys(mls: Sandbox) -> list[str]:
    return list(mls.market.listings)
