"""A resolver for tests: it runs in the test's process with stores in memory, and answers over real HTTP."""

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
from services.resolver.app import ResolverParts, Resources, connect_parts, create_app
from shared.clock import Clock, utc_now
from shared.domain.image import Photo
from shared.domain.listing import Listing, RecordedState
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


class MemoryBroker(Broker):
    """A broker that keeps the published records in `records`. While `is_unavailable`, it refuses them."""

    def __init__(self) -> None:
        super().__init__("nowhere:9")
        self.records: list[Outgoing] = []
        self.is_unavailable = False
        self.fails_at_publish = False
        """If True, it still answers a ping and becomes unavailable with the next publish."""

    async def publish(self, records: Iterable[Outgoing]) -> None:
        """Keep the records in `records`. Raises BrokerUnavailable, and keeps none, while the broker is unavailable."""
        self.is_unavailable |= self.fails_at_publish
        await self.ping()
        self.records += records

    async def ping(self) -> None:
        """Do nothing; raise BrokerUnavailable while the broker is unavailable."""
        if self.is_unavailable:
            raise BrokerUnavailable("away")


class CountingListings(MemoryListings):
    """Listings in memory that count the queries for answers in `queries`. While `is_unavailable`, all queries fail."""

    def __init__(self) -> None:
        super().__init__(RENDERER)
        self.queries = 0
        self.is_unavailable = False

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        """Return the recorded listings with these ids, by id.

        The query is not counted, because it is not for an answer.

        Raises StoreUnavailable while `is_unavailable`.
        """
        if self.is_unavailable:
            raise StoreUnavailable("away")
        return await super().get_many(ids)

    async def recorded_states(self, ids: Collection[ListingId]) -> Mapping[ListingId, RecordedState]:
        """Return what is recorded of listings by id; the query is not counted.

        Raises StoreUnavailable while `is_unavailable`.
        """
        if self.is_unavailable:
            raise StoreUnavailable("away")
        return await super().recorded_states(ids)

    async def answers(self, *query: Any) -> list[Answer]:
        self._count()
        return list(await super().answers(*query))

    async def showing(self, *query: Any) -> list[ShownPhoto]:
        self._count()
        return list(await super().showing(*query))

    async def photo_answers(self, *query: Any, every: bool) -> list[PhotoAnswer]:
        self._count()
        return list(await super().photo_answers(*query, every=every))

    def _count(self) -> None:
        if self.is_unavailable:
            raise StoreUnavailable("away")
        self.queries += 1


@dataclass
class Resolver:
    """A running resolver with its stores in memory: `http` sends it requests, `broker` has what it published."""

    resources: Resources
    parts: ResolverParts
    listings: CountingListings
    throughputs: MemoryThroughputs
    port: int
    broker: MemoryBroker
    http: aiohttp.ClientSession
    health: Health = field(repr=False)
    app: web.Application = field(repr=False)

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of one of the resolver's metrics, 0 if it has no value with these labels."""
        return self.resources.registry.get_sample_value(name, labels) or 0.0

    async def record(self, **facts: Any) -> Listing:
        """Change facts of the listing KEY in memory, and return the listing as written.

        If somebody else wrote the listing meanwhile, the change is made again to what they wrote.
        """

        async def written() -> Listing | None:
            (listing,) = await self.listings.by_key(KEY)
            after = replace(listing, **facts)
            return None if await self.listings.write([after]) else after

        return await until(written, "the facts to be recorded")

    async def begin_waiting(self, photo: Photo) -> "asyncio.Task[aiohttp.ClientResponse]":
        """Let a visitor ask for a photo without a copy; return the request's task once it waits for the download.

        By then the photo was raised in priority, read again, and had no copy.
        """
        before = self.listings.queries
        request = self.http.get(f"/api/images/serve?id={photo.id}", allow_redirects=False)
        waiting = asyncio.create_task(request)

        async def was_read_twice() -> bool:
            return self.listings.queries >= before + 2

        await until(was_read_twice, "the visitor to wait", seconds=10)
        return waiting


@asynccontextmanager
async def a_resolver(*listings: Listing, clock: Clock = utc_now, **settings: Any) -> AsyncIterator[Resolver]:
    """Run a resolver in this process during the context, with the listings recorded in memory; yield its parts.

    `settings` are fields of `Settings`; the others have their defaults.
    """
    store, broker, throughputs, port = CountingListings(), MemoryBroker(), MemoryThroughputs(), ports.choose(set())
    await store.write(listings)
    resources = Resources(
        settings=Settings(_env_file=None, **settings),
        feeds={FEED: a_feed()},
        listings=store,
        answers=store,
        throughputs=throughputs,
        broker=broker,
        renderer=RENDERER,
        registry=CollectorRegistry(),
        clock=clock,
    )
    parts, health = connect_parts(resources), Health({}, resources.registry)
    app = create_app(resources, parts, health)
    async with (
        http_server.serving(app, "127.0.0.1", port),
        running_loops([Loop("demand", parts.demand.run_round, 0.0)]),
        aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
        ) as http,
    ):
        yield Resolver(resources, parts, store, throughputs, port, broker, http, health, app)
