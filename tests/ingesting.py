"""An ingest for tests: it runs in the test's process with stores in memory, and answers over real HTTP."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from prometheus_client import CollectorRegistry

from local import ports
from services.ingest.app import IngestParts, create_app
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.health import Health, serving
from shared.publisher import Publisher
from shared.settings import Settings
from shared.stores.memory import MemoryLedgers, MemoryListings, MemoryPushedKeys, MemoryRefreshes
from tests.answering import RENDERER, MemoryBroker
from tests.builders import FEED, NOW, a_feed

TOKEN, OTHER_TOKEN = "a-token-of-the-site", "the-token-after-it"


@dataclass(frozen=True, slots=True)
class RunningIngest:
    """An ingest that answers at `http`; `broker` has what it published."""

    http: aiohttp.ClientSession
    broker: MemoryBroker
    listings: MemoryListings
    pushed_keys: MemoryPushedKeys
    registry: CollectorRegistry

    def published(self) -> Sequence[Mapping[str, Any]]:
        """Return the data of the events that were published, in order."""
        return [orjson.loads(record.value or b"")["data"] for record in self.broker.records]

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric with these labels; 0 if it has none."""
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def an_ingest(
    feed: Feed | None = None, *, tokens: str = f"{TOKEN}, {OTHER_TOKEN}", clock: Clock = lambda: NOW
) -> AsyncIterator[RunningIngest]:
    """Yield a running ingest of one feed. Its session sends the first of the `tokens`."""
    registry, broker, listings, keys = CollectorRegistry(), MemoryBroker(), MemoryListings(RENDERER), MemoryPushedKeys()
    parts = IngestParts(
        settings=Settings(ingest_token=tokens, ingest_port=ports.choose(set())),
        feeds={FEED: feed or a_feed()},
        listings=listings,
        ledgers=MemoryLedgers(clock),
        refreshes=MemoryRefreshes(),
        pushed_keys=keys,
        publisher=Publisher(broker, "", "ingest", clock),
        registry=registry,
        clock=clock,
    )
    app = create_app(parts, Health({"kafka": broker.ping}, registry))
    address = f"http://127.0.0.1:{parts.settings.ingest_port}"
    async with (
        serving(app, "127.0.0.1", parts.settings.ingest_port),
        aiohttp.ClientSession(address, headers={"Authorization": f"Bearer {TOKEN}"}) as http,
    ):
        yield RunningIngest(http, broker, listings, keys, registry)
