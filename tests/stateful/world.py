"""The whole system in memory: the real code of all services, on a clock that moves only while all tasks wait."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import orjson
from prometheus_client import CollectorRegistry

from ops import audit as auditing
from services.downloader.download import Downloader
from services.downloader.encoders import Encoders
from services.downloader.fetch import Fetcher
from services.downloader.handle import Handler, HandlerParts
from services.downloader.no_photos import KnownNoPhotos
from services.downloader.picture import Encoded, EncodedVariant
from services.janitor.evidence import RemovalReports
from services.janitor.guard import Guard
from services.janitor.photo_objects import PhotoObjects
from services.janitor.removal import Remover
from services.resolver.answer_cache import AnswerCache
from services.resolver.cache_metrics import CacheMetrics
from services.resolver.demand import DemandQueue
from services.resolver.policy import CachePolicy
from services.scheduler.release import Releaser
from shared.audit import AuditScope, Walk
from shared.dead_letters import DeadLetters
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.freshness import to_millisecond
from shared.domain.variants import VariantSpec, parse_variants
from shared.events import topics
from shared.events.records import Record
from shared.kafka import BrokerUnavailable
from shared.lease import Lease
from shared.origin_budget.budget import OriginBudget
from shared.publisher import Publisher
from shared.recording import Recorder
from shared.render import Renderer
from shared.stores.answers import Answers
from shared.stores.attempts import Attempts
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.leases import Leases
from shared.stores.ledgers import Ledgers
from shared.stores.memory import (
    MemoryAttempts,
    MemoryLeases,
    MemoryLedgers,
    MemoryListings,
    MemoryNoPhotos,
    MemoryRemovalHolds,
    MemoryRemovals,
)
from shared.stores.objects import Objects
from shared.stores.removal_holds import RemovalHolds
from shared.stores.removals import Removals
from tests.simulated import SimulatedTime
from tests.stateful.broker import Subscription, Topics
from tests.stateful.mls import Mls, OriginFetcher
from tests.stateful.processes import BrokerDoor, Died, Door, ListingsDoor, Process, new_task
from tests.stateful.watched import WatchedListings, WatchedObjects

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOSTS = ("photos.example.com",)
FEEDS = {
    # a: wide limits, validators, and a timestamp for each photo. b: narrow limits, and neither of them.
    "a": Feed(
        name="a", image_hosts=HOSTS, requests_per_second=4, batch_pause_seconds=0, viewed_reserve=0, concurrency=3,
        batch_size=5, requests_per_hour=25, max_attempts=3,
    ),
    "b": Feed(
        name="b", image_hosts=HOSTS, requests_per_second=0.5, concurrency=1, batch_size=2, max_attempts=2,
        request_timeout_seconds=5, keep_after_inactive_hours=0.05,
    ),
}  # fmt: skip
LISTINGS: list[ListingId] = [("a", "X1"), ("a", "X2"), ("b", "X1")]
PHOTOS = ["p", "q", "r", "s"]
SPECS = parse_variants("thumb=320:webp:75,full=1600:webp:80")
SUPERSEDED_FOR = timedelta(minutes=2)
RENDERER = Renderer("https://cdn.example.com")
TOPICS_READ = {
    "scheduler": [topics.LISTING_SEEN],
    "janitor": [topics.LISTING_SEEN],
    "downloader": [topics.IMAGE_OUTDATED_VIEWED, topics.IMAGE_OUTDATED],
    "resolver": [topics.IMAGE_DOWNLOADED, topics.IMAGE_REMOVED],
}
_WORKERS = {"scheduler": 2, "janitor": 2, "downloader": 2, "resolver": 1}


class _Encoders:
    """Encodes at once, in this process: a variant's bytes are those of its source and its name."""

    async def encode(
        self, source: Path, into: Path, specs: Sequence[VariantSpec], max_pixels: int, *, urgent: bool
    ) -> Encoded | Failure:
        body = source.read_bytes()  # noqa: ASYNC240 - some bytes
        if body.endswith(b"/0"):
            return Failure(Reason.NOT_AN_IMAGE, "not an image")
        variants = []
        for spec in specs:
            path = into / spec.name
            size = path.write_bytes(body + spec.name.encode())
            variants.append(EncodedVariant(spec.name, path, spec.width, spec.width, size, "image/webp", "webp"))
        return Encoded("image/jpeg", "jpg", 2000, 2000, "", tuple(variants))


class HandlesRecords(Protocol):
    """A function of a service that handles batches of records."""

    async def __call__(self, records: Sequence[Record]) -> None: ...


@dataclass
class Service:
    """What a process does: `handle` takes the records that it reads, `round` is one round of its loop.

    `cache` and `demand` are set for the resolver. `running` has the tasks that run now, by a name.
    """

    handle: HandlesRecords
    round: Callable[[], Awaitable[object]] | None = None
    cache: AnswerCache | None = None
    demand: DemandQueue | None = None
    running: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)

    def front(self) -> tuple[AnswerCache, DemandQueue]:
        """Return the resolver's cache and its queue of demand. Fail for any other service."""
        assert self.cache is not None
        assert self.demand is not None
        return self.cache, self.demand


async def _reads_nothing(records: Sequence[Record]) -> None:
    raise AssertionError(f"an operator reads no topics: {records}")


class World:
    """The MLS, the servers and the processes of all services, in memory, on one simulated clock.

    `bugs` are the exceptions that no service should raise.
    """

    def __init__(self) -> None:
        self.loop = SimulatedTime()
        self.loop.set_task_factory(new_task)
        self.loop.set_exception_handler(self._unexpected)
        self.bugs: list[BaseException] = []
        self.mls = Mls(LISTINGS, self.clock)
        self.topics = Topics(self.clock)
        self.objects = WatchedObjects(self.clock)
        self.listings = WatchedListings(RENDERER, self.clock, self.objects)
        self.attempts, self.removals, self.leases = MemoryAttempts(), MemoryRemovals(), MemoryLeases()
        self.removal_holds = MemoryRemovalHolds()
        self.ledgers = MemoryLedgers(self.clock)
        self.subscriptions = {
            (group, topic): Subscription(self.topics, topic) for group, names in TOPICS_READ.items() for topic in names
        }  # fmt: skip
        self._numbers = itertools.count()
        self.operator = Process[Service]("operator")
        self.operator.service = Service(_reads_nothing)
        self.processes: dict[str, Process[Service]] = {}
        self._stops_before = 0
        for name, count in _WORKERS.items():
            for number in range(count):
                self.boot(f"{name}-{number}", f"{name}-{number}")

    def clock(self) -> datetime:
        """Return the simulated time, to the millisecond: the only clock of all processes and servers."""
        return to_millisecond(START + timedelta(seconds=self.loop.time()))

    def elapse(self, seconds: float) -> None:
        """Let `seconds` of simulated time pass, while all tasks that run go on."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def close(self) -> None:
        """Kill all processes and close the event loop. The world cannot be used afterwards."""
        for process in (*self.processes.values(), self.operator):
            process.kill()
        self.elapse(1)
        self.loop.close()

    # Processes

    def boot(self, place: str, name: str) -> None:
        """Start a process at the place (such as `downloader-0`), which chooses its service, under the name `name`."""
        process = Process[Service](name)
        self.processes[place] = process
        self.loop.run_until_complete(self._boot(place.split("-", maxsplit=1)[0], process))

    async def _boot(self, service: str, process: Process[Service]) -> None:
        build = {
            "scheduler": self._scheduler,
            "downloader": self._downloader,
            "janitor": self._janitor,
            "resolver": self._resolver,
        }[service]
        process.service = build(process)

    def kill(self, place: str, *, same_name: bool) -> None:
        """Kill the process at the place and start its successor there, under the same name or a new one.

        Records that the process was handling are delivered again.
        """
        old = self.processes[place]
        old.kill()
        self._stops_before += old.stops
        self.elapse(0)
        self.boot(place, old.name if same_name else f"{place}-{next(self._numbers)}")

    def _parts(self, process: Process[Service], service: str) -> tuple[MemoryListings, DeadLetters, Publisher]:
        broker = BrokerDoor(process, self.topics)
        return (
            cast("MemoryListings", ListingsDoor(process, self.listings)),
            DeadLetters(broker, "", service, self.clock, CollectorRegistry()),
            Publisher(broker, "", service, self.clock),
        )

    def _scheduler(self, process: Process[Service]) -> Service:
        listings, dead_letters, publisher = self._parts(process, "scheduler")
        recorder = Recorder(listings, FEEDS, dead_letters, self.clock, CollectorRegistry())
        lease = Lease(cast("Leases", Door(process, self.leases)), "release", process.name, self.clock, self.loop.time)
        release = Releaser(listings, lease, publisher, FEEDS, self.clock, CollectorRegistry())
        return Service(recorder.record, release.tick)

    def _janitor(self, process: Process[Service]) -> Service:
        listings, dead_letters, publisher = self._parts(process, "janitor")
        recorder = Recorder(listings, FEEDS, dead_letters, self.clock, CollectorRegistry())
        lease = Lease(cast("Leases", Door(process, self.leases)), "removal", process.name, self.clock, self.loop.time)
        guard = Guard(
            listings, cast("RemovalHolds", Door(process, self.removal_holds)), FEEDS, self.clock, CollectorRegistry()
        )
        removals, objects = Door(process, self.removals), Door(process, self.objects)
        reports = RemovalReports(cast("Removals", removals), publisher, RENDERER, CollectorRegistry())
        remover = Remover(
            listings, PhotoObjects(cast("Objects", objects)), reports, guard, lease, self.clock, CollectorRegistry()
        )
        return Service(recorder.record, remover.sweep)

    def _downloader(self, process: Process[Service]) -> Service:
        listings, dead_letters, publisher = self._parts(process, "downloader")
        ledgers = cast("Ledgers", Door(process, self.ledgers))
        objects = cast("Objects", Door(process, self.objects.of(process)))
        fetcher, encoders = cast("Fetcher", OriginFetcher(self.mls)), cast("Encoders", _Encoders())
        parts = HandlerParts(
            listings=listings,
            attempts=cast("Attempts", Door(process, self.attempts)),
            publisher=publisher,
            renderer=RENDERER,
            dead_letters=dead_letters,
            budget=OriginBudget(ledgers, process.name, monotonic=self.loop.time),
            download=Downloader(
                fetcher, encoders, objects, KnownNoPhotos(MemoryNoPhotos()), SPECS, self.clock
            ).download,
            ping_storage=objects.ping,
            feeds=FEEDS,
            superseded_for=SUPERSEDED_FOR,
            worker=process.name,
            clock=self.clock,
            registry=CollectorRegistry(),
        )
        handler = Handler(parts)
        return Service(handler.handle, handler.announcements.publish_overdue)

    def _resolver(self, process: Process[Service]) -> Service:
        listings, _, publisher = self._parts(process, "resolver")
        cache = AnswerCache(
            cast("Answers", listings),
            CachePolicy(self.loop.time),
            CacheMetrics(CollectorRegistry()),
            1_000_000,
            lambda _: False,
        )
        demand = DemandQueue(listings, publisher, FEEDS, self.clock, CollectorRegistry())

        async def handle(records: Sequence[Record]) -> None:
            for record in records:
                for listing in await self.listings.by_key((record.key or b"").decode("utf-8", "replace")):
                    for photo in listing.photos:
                        cache.invalidate(listing.key, photo.id)

        return Service(handle, demand.run_round, cache, demand)

    # What processes do

    def read(self, place: str, topic: str, limit: int) -> None:
        """Let the process at the place start to handle the next records of a topic, `limit` at most.

        It handles them beside earlier batches. Do nothing if no record is unread.
        """
        subscription = self.subscriptions[place.split("-", maxsplit=1)[0], topic]
        if records := subscription.take(limit):
            process = self.processes[place]
            self._begin(process, self._handle(process, subscription, records), f"{topic} {next(self._numbers)}")

    async def _handle(self, process: Process[Service], subscription: Subscription, records: Sequence[Record]) -> None:
        """Handle a batch as the consumer does: try again during an outage, deliver it again if the process dies."""
        wait = 0.2
        try:
            while True:
                try:
                    return await process.service.handle(records)
                except (StoreUnavailable, Contention, BrokerUnavailable):
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, 5.0)
        except (Died, asyncio.CancelledError):
            subscription.redeliver(records)
            raise

    def round(self, place: str) -> None:
        """Let the process at the place start a round of its loop.

        Do nothing if it has no loop, or a round still runs.
        """
        process = self.processes[place]
        if process.service.round and "round" not in process.service.running:
            self._begin(process, self._round(process.service.round), "round")

    async def _round(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except (StoreUnavailable, Contention, BrokerUnavailable):
            await asyncio.sleep(0.4)

    def repair(self) -> None:
        """Let an operator start an audit that repairs what it finds. Do nothing if an earlier one still runs."""
        if not self.operator.service.running:
            self._begin(self.operator, self._round(self._repair), "repair")

    async def _repair(self) -> None:
        listings = cast("MemoryListings", ListingsDoor(self.operator, self.listings))
        objects = cast("Objects", Door(self.operator, self.objects))
        walk = Walk(listings, objects, self.clock, AuditScope(feeds=list(FEEDS), read_share=0.0))
        await auditing.run(walk, auditing.Repair(listings, objects, self.clock))

    def request(self, work: Callable[[Service], Coroutine[Any, Any, None]]) -> None:
        """Let the resolver start to handle a visitor's request: `work` gets the resolver's service.

        The request may fail.
        """
        process = self.processes["resolver-0"]
        self._begin(process, self._round(partial(work, process.service)), f"request {next(self._numbers)}")

    def _begin(self, process: Process[Service], work: Coroutine[Any, Any, None], name: str) -> None:
        async def begin() -> None:
            task = process.start(work)
            process.service.running[name] = task
            task.add_done_callback(lambda task: self._ended(process, name, task))

        self.loop.run_until_complete(begin())

    def _ended(self, process: Process[Service], name: str, task: "asyncio.Task[None]") -> None:
        process.service.running.pop(name)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, Died):
            self.bugs.append(error)

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, (Died, StoreUnavailable, Contention, BrokerUnavailable)):
            self.bugs.append(error)

    def announce(self, listing_id: ListingId, record: Mapping[str, Any]) -> None:
        """Publish a property record of a listing as a `listing-seen` event, as an ingest does."""
        feed, listing_key = listing_id
        event = {"type": "listing-seen.v1", "data": {"feed": feed, "property": record}}
        self.topics.append(topics.LISTING_SEEN, listing_key.encode(), orjson.dumps(event))

    # All processes together

    def alive(self) -> Iterator[tuple[str, Process[Service]]]:
        """Yield each place with its process, which is alive: a dead process gets its successor first."""
        for place, process in list(self.processes.items()):
            if process.is_dead:
                self.kill(place, same_name=True)
            yield place, self.processes[place]

    def work(self, *, with_second: bool = True) -> None:
        """Let each process start to handle all its unread records, and start a round of its loop.

        Without `with_second`, only the first process of each service does so.
        """
        for place, _ in self.alive():
            if not with_second and not place.endswith("0"):
                continue
            for (group, topic), subscription in self.subscriptions.items():
                while place.startswith(group) and subscription.lag:
                    self.read(place, topic, 10)
            self.round(place)

    @property
    def is_busy(self) -> bool:
        """Return True if a task of any process runs, or a record is unread."""
        return any(subscription.lag for subscription in self.subscriptions.values()) or any(
            process.service.running for process in (*self.processes.values(), self.operator)
        )

    @property
    def disturbances(self) -> int:
        """Return how many records were lost, plus how often processes were stopped. It grows with each disturbance."""
        lost = sum(len(subscription.lost) for subscription in self.subscriptions.values())
        return self._stops_before + sum(process.stops for process in (*self.processes.values(), self.operator)) + lost
