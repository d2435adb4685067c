"""Runs a downloader's handler on stores in memory, with downloads that end when a test says so."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from prometheus_client import CollectorRegistry

from services.downloader.answers import NotModified
from services.downloader.fresh_urls import UrlSource
from services.downloader.handle import Handler, HandlerParts
from services.downloader.outcomes import Downloaded, Outcome
from services.downloader.permit import Permit
from shared.dead_letters import DeadLetters
from shared.domain.failures import Failure
from shared.domain.feed import Feed
from shared.domain.image import Photo
from shared.events.records import Record
from shared.kafka import Broker, Outgoing
from shared.origin_budget.budget import OriginBudget
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.memory import MemoryAttempts, MemoryLedgers, MemoryListings
from tests.builders import FEED, NOW, a_copy, a_listing, a_photo, after


class FakeBroker(Broker):
    """A broker that takes all records and keeps none."""

    async def publish(self, records: Iterable[Outgoing]) -> None:
        list(records)


@dataclass
class FakeDownloads:
    """Downloads that go on until the test calls `finish` for their photo, and then succeed, fail or raise.

    `started` has the photos' object ids in the order in which their downloads started. They raise `error` or end with
    `failure`, if either is set.
    """

    started: list[str] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    error: Exception | None = None
    failure: Failure | None = None
    is_storage_unavailable: bool = False

    async def download(self, feed: Feed, listing_key: str, photo: Photo, permit: Permit) -> Outcome:
        assert await permit.wait_for_request() is None
        self.started.append(photo.object_id)
        permit.count_received(1_000)
        await self.gates.setdefault(photo.object_id, asyncio.Event()).wait()
        await permit.report_answer(self.failure or NotModified(None, None))
        if self.error:
            raise self.error
        if self.failure:
            return self.failure
        return Downloaded(a_copy(photo.object_id, key=listing_key))

    async def ping_storage(self) -> None:
        if self.is_storage_unavailable:
            raise StoreUnavailable("unavailable")

    def finish(self, *photos: str) -> None:
        for photo in photos:
            self.gates.setdefault(photo, asyncio.Event()).set()


@dataclass
class HandlerRun:
    """A downloader's handler on stores in memory, which hold the listings X1 with photo `a`, and X2 with photo `b`.

    `tasks` are the batches that are being handled, or were.
    """

    downloads: FakeDownloads
    listings: MemoryListings
    ledgers: MemoryLedgers
    handler: Handler
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def request(self, key: str, photo: str, *more: str, feed: str = FEED, priority: str = "") -> asyncio.Task[None]:
        """Start to handle a batch of `image-outdated` events; return its task.

        Each photo is given by its listing's key and its object id: `request("X1", "a", "X2", "b")`.
        """
        names = [(key, photo), *zip(more[::2], more[1::2], strict=True)]
        data = [
            {
                "feed": feed,
                "listing_key": key,
                "image_id": a_photo(photo, key=key, feed=feed).id,
                "priority": priority or "viewed",
            }
            for key, photo in names
        ]
        values = [json.dumps({"type": "image-outdated.v1", "data": fields}).encode() for fields in data]
        records = [Record("image-outdated", 0, 0, NOW, None, value) for value in values]
        handle = self.handler.handle_viewed if priority == "viewed" else self.handler.handle
        self.tasks.append(asyncio.create_task(handle(records)))
        return self.tasks[-1]

    async def photo(self, key: str) -> Photo:
        """Return the first photo of the listing with this key, as it is recorded in memory now."""
        listing = await self.listings.get(FEED, key)
        assert listing is not None
        return listing.photos[0]


@asynccontextmanager
async def a_handler_run(
    feed: Feed,
    *,
    downloads: FakeDownloads | None = None,
    url_source: Callable[[Feed, bool], UrlSource | None] = lambda _, __: None,
) -> AsyncIterator[HandlerRun]:
    """Yield a downloader's handler for `feed` and another feed like it, named `other`; in the end, cancel its tasks."""
    renderer, broker, registry = Renderer("http://x"), FakeBroker("nowhere"), CollectorRegistry()
    downloads = downloads or FakeDownloads()
    listings, ledgers = MemoryListings(renderer), MemoryLedgers()
    feeds = {FEED: feed, "other": replace(feed, name="other")}
    parts = HandlerParts(
        listings=listings,
        attempts=MemoryAttempts(),
        publisher=Publisher(broker, "", "downloader", lambda: after(9)),
        renderer=renderer,
        dead_letters=DeadLetters(broker, "", "downloader", lambda: after(9), registry),
        budget=OriginBudget(ledgers, "w"),
        download=downloads.download,
        ping_storage=downloads.ping_storage,
        feeds=feeds,
        superseded_for=timedelta(hours=1),
        worker="w",
        clock=lambda: after(9),
        registry=registry,
        url_source=url_source,
    )
    await listings.write([a_listing(a_photo("a", key="X1"), key="X1"), a_listing(a_photo("b", key="X2"), key="X2")])
    run = HandlerRun(downloads, listings, ledgers, Handler(parts))
    try:
        yield run
    finally:
        for task in run.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, StoreUnavailable, Contention):
                await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` is true. Raise TimeoutError after 5 seconds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.005)
