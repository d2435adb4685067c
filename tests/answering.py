"""A resolver in this process, on stores in memory, answering real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry

from local import ports
from services.resolver import http_server
from services.resolver.app import Parts, create_app
from shared.clock import Clock, utc_now
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.health import Health
from shared.kafka import Broker, BrokerUnavailable, Outgoing
from shared.render import Renderer
from shared.runtime import Loop, running_loops
from shared.settings import Settings
from shared.stores.answers import Answer, PhotoAnswer, ShownPhoto
from shared.stores.documents import ListingId
from shared.stores.errors import StoreUnavailable
from shared.stores.memory import MemoryListings, MemoryThroughputs
from tests.builders import FEED, KEY, a_feed
from tests.system import until

RENDERER = Renderer("https://cdn.example.com")


class Said(Broker):
    """A broker that keeps what is published, and can be away."""

    def __init__(self) -> None:
        super().__init__("nowhere:9")
        self.records: list[Outgoing] = []
        self.is_away = False
        self.goes_away = False

    async def publish(self, records: Iterable[Outgoing]) -> None:
        """Keep the records."""
        self.is_away |= self.goes_away
        await self.ping()
        self.records += records

    async def ping(self) -> None:
        """Raise while away."""
        if self.is_away:
            raise BrokerUnavailable("away")


class Watched(MemoryListings):
    """The listings in memory; counts questions, and can be away."""

    def __init__(self) -> None:
        super().__init__(RENDERER)
        self.readings = 0
        self.is_away = False

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        """Answer, uncounted: who asks wants to write."""
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().get_many(ids)

    async def answers(self, *asked: Any) -> list[Answer]:
        """Count and answer."""
        self._count()
        return list(await super().answers(*asked))

    async def showing(self, *asked: Any) -> list[ShownPhoto]:
        """Count and answer."""
        self._count()
        return list(await super().showing(*asked))

    async def photo_answers(self, *asked: Any, every: bool) -> list[PhotoAnswer]:
        """Count and answer."""
        self._count()
        return list(await super().photo_answers(*asked, every=every))

    def _count(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        self.readings += 1


@dataclass
class Resolver:
    """The running resolver: `http` asks it, `said` is what it published."""

    parts: Parts
    listings: Watched
    throughputs: MemoryThroughputs
    port: int
    said: Said
    http: aiohttp.ClientSession
    health: Health = field(repr=False)
    app: web.Application = field(repr=False)

    def metric(self, name: str, **labels: str) -> float:
        """Return what the resolver counts."""
        return self.parts.registry.get_sample_value(name, labels) or 0.0

    async def record(self, **facts: Any) -> Listing:
        """Record facts of the listing, whatever else is being recorded of it."""

        async def recorded() -> Listing | None:
            (known,) = await self.listings.by_key(KEY)
            after = replace(known, **facts)
            return None if await self.listings.write([after]) else after

        return await until(recorded, "the facts to be recorded")

    async def is_waited_for(self, photo: Photo) -> "asyncio.Task[aiohttp.ClientResponse]":
        """Have a visitor wait for a photo; return once it was raised, looked at, and not there."""
        readings = self.listings.readings
        path = f"/api/images/serve?id={photo.id}"
        asking = asyncio.create_task(self.http.get(path, allow_redirects=False))

        async def waits() -> bool:
            return self.listings.readings >= readings + 2

        await until(waits, "the visitor to wait", seconds=10)
        return asking


@asynccontextmanager
async def a_resolver(*listings: Listing, clock: Clock = utc_now, **settings: Any) -> AsyncIterator[Resolver]:
    """Run a resolver that knows these listings, with these settings."""
    store, said, registry, port = Watched(), Said(), CollectorRegistry(), ports.choose(set())
    await store.write(listings)
    feeds = {FEED: a_feed()}
    throughputs = MemoryThroughputs()
    parts = Parts(
        Settings(_env_file=None, **settings), feeds, store, store, throughputs, said, RENDERER, registry, clock
    )
    health = Health({}, registry)
    app = create_app(parts, health)
    async with (
        http_server.serving(app, "127.0.0.1", port),
        running_loops([Loop("demand", parts.demand.work, 0.0)]),
        aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
        ) as http,
    ):
        yield Resolver(parts, store, throughputs, port, said, http, health, app)
