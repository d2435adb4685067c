"""Measures the queries of all loops over 2.5 million images in MongoDB, compared with scans of the collection.

LISTINGS=5000 makes it a quick run; each listing has 25 photos.
"""

import gc
import hashlib
import os
import statistics
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import bson
import orjson
import psutil
from bson.raw_bson import RawBSONDocument
from prometheus_client import CollectorRegistry

from bench.rows import Row
from services.scheduler.release import Releaser
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.image import Photo
from shared.domain.listing import UNTIL_DECIDED, Hidden, Listing, RemovalReason
from shared.domain.priority import Priority
from shared.kafka import Broker, Outgoing
from shared.lease import Lease
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.documents import Document, to_document
from shared.stores.mongo import Database, MongoListings
from tests.builders import FEED, a_copy, a_discard, a_listing, a_photo
from tests.servers import Servers, a_namespace

LISTINGS = int(os.environ.get("LISTINGS", "100000"))
PHOTOS, TICKS, WARM_UP_TICKS, TICK_SECONDS = 25, 200, 60, 0.25
RULES = Feed(name=FEED, image_hosts=("127.0.0.1",), requests_per_second=100, batch_size=10, batch_pause_seconds=0)
RENDERER = Renderer("https://cdn.example.com/listing-images")
WITHOUT_INDEX = "a scan of all listings"
_SINCE = datetime(2001, 2, 3, 4, 5, 6, 789_000, UTC)
"""The time in a template that is replaced by the time when the photos of a listing became due."""
_TOKEN = "0badcafe"  # noqa: S105 - the digits in a template that each listing replaces by its own
_BATCH_SIZE = 200


async def run(servers: Servers) -> list[Row]:
    """Insert all listings into MongoDB, measure a scheduler's ticks and each other query; return the table's rows."""
    namespace = a_namespace(servers)
    async with mongo.connect(servers.mongo, namespace.db, call_seconds=3_600.0) as database:
        await load(database)
        gc.collect()
        gc.freeze()  # the services do the same
        try:
            return [
                *await _size(database),
                *await _ticks(database),
                *[row for name in QUERIES for row in await _measured(database, name)],
            ]
        finally:
            await database.client.drop_database(namespace.db)


# The listings: half of them wait for their first downloads, the others are as on any day.


async def load(database: Database) -> None:
    """Insert all listings of the benchmark into an empty database, and create its indexes."""
    now = utc_now()
    templates = [bson.encode(to_document(listing, 1, RENDERER)) for listing in _templates(now)]
    for first in range(0, LISTINGS, _BATCH_SIZE):
        numbers = range(first, min(first + _BATCH_SIZE, LISTINGS))
        documents = [
            RawBSONDocument(_from_template(templates[number % len(templates)], number, now)) for number in numbers
        ]
        await database["listings"].insert_many(cast("list[Document]", documents), ordered=False)
    await mongo.apply_indexes(database)


def _token(number: int) -> bytes:
    """Return eight hex digits that replace `_TOKEN` in the ids of listing `number`.

    They differ for each number below 2**32, and are in no order, so that ids are spread over the indexes as real ones.
    """
    return b"%08x" % (number * 2_654_435_761 % 2**32)


def _from_template(template: bytes, number: int, now: datetime) -> bytes:
    """Return the BSON document of listing `number`: a copy of `template` in which bytes are replaced.

    Listing `number` gets ids of its own. Its photos became due at a time of their own within the day before `now`.
    """
    since = now - timedelta(seconds=60, milliseconds=number * 7_919 % 86_400_000)
    return template.replace(_TOKEN.encode(), _token(number)).replace(_date(_SINCE), _date(since))


def _date(moment: datetime) -> bytes:
    """Return a time as the eight bytes by which BSON encodes it: milliseconds since 1970."""
    return struct.pack("<q", round(moment.timestamp() * 1000))


def _templates(now: datetime) -> Iterator[Listing]:
    """Yield 200 listings, of which all others are copies. They differ in due photos, holds, discards and removals."""
    for index in range(200):
        held = [_held(number, now) for number in range(PHOTOS)]
        if index % 2:
            priority = (Priority.ROUTINE, Priority.ROUTINE, Priority.POPULAR, Priority.SEARCHED)[index // 2 % 4]
            yield _listing([_photo(number, not_before=_SINCE, priority=priority) for number in range(PHOTOS)])
        elif index % 50 == 0:
            changed = [replace(photo, announced_at=now, not_before=_SINCE) for photo in held[:3]]
            yield _listing([*changed, *held[3:]])
        elif index % 100 == 2:
            later = now + timedelta(hours=1)
            yield _listing([_photo(0, not_before=later, attempts=2), *held[1:]])
        elif index == 4:
            leaving = a_discard("0", copy=held[0].copy, remove_at=_SINCE)
            yield _listing(held, discards=(leaving,))
        elif index in (6, 8):
            gone = Hidden(reason=RemovalReason.LISTING_INACTIVE, since=now, remove_at=now + timedelta(days=1))
            yield _listing(held, hidden=replace(gone, held_until=UNTIL_DECIDED if index == 8 else None))
        else:
            yield _listing(held)


def _listing(photos: Sequence[Photo], **facts: Any) -> Listing:
    return a_listing(*photos, key=f"W{_TOKEN}", **facts)


def _photo(number: int, **facts: Any) -> Photo:
    """Return a photo for a template. Its ids are as long and as evenly distributed as real ones.

    `facts` are further attributes of the photo.
    """
    mixed = hashlib.sha256(b"%d" % number).hexdigest()
    return a_photo(
        f"{number}-{_TOKEN}", key=f"W{_TOKEN}", id=_photo_id(number, _TOKEN), caption="A bright and sunny room",
        url=f"https://photos.example.com/{mixed}/rs:fit:1920:1920/{_TOKEN}/{mixed[::-1]}.jpg",
        url_keys=tuple(f"{size}{mixed[1:16]}{_TOKEN}" for size in range(3)), **facts,
    )  # fmt: skip


def _photo_id(number: int, token: str) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()[:24] + token


def _held(number: int, now: datetime) -> Photo:
    name = f"{number}-{_TOKEN}"
    sha256 = hashlib.sha256(b"bytes %d" % number).hexdigest()
    return _photo(number, copy=a_copy(name, key=f"W{_TOKEN}", sha256=sha256, downloaded_at=now, checked_at=now))


async def _size(database: Database) -> list[Row]:
    found = await database.command("collStats", "listings")
    images = LISTINGS * PHOTOS
    queues = [size for name, size in found["indexSizes"].items() if name.startswith("due_")]
    return [
        Row("images recorded", images / 1e6, "million"),
        Row("size of the listings, uncompressed", found["size"] / 1e9, "GB"),
        Row("size of the listings on disk", found["storageSize"] / 1e9, "GB"),
        Row("size of their indexes on disk", found["totalIndexSize"] / 1e9, "GB"),
        Row("  of which indexes of due photos", sum(queues) / 1e6, "MB"),
    ]


# A scheduler that releases photos


class Timed:
    """Passes method calls to the store of listings in MongoDB, and measures each call.

    `milliseconds` has the durations of the calls by the method's name.
    """

    def __init__(self, listings: MongoListings) -> None:
        self._listings = listings
        self.milliseconds: dict[str, list[float]] = {}

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        method = getattr(self._listings, name)

        async def timed(*arguments: object) -> object:
            began = time.perf_counter()
            try:
                return await method(*arguments)
            finally:
                self.milliseconds.setdefault(name, []).append((time.perf_counter() - began) * 1000)

        return timed


class MemoryBroker(Broker):
    """A broker that keeps the values of published records in memory until `take` returns them."""

    def __init__(self) -> None:
        super().__init__("")
        self.values: list[bytes] = []

    async def publish(self, records: Iterable[Outgoing]) -> None:
        """Keep the values of the records in memory for `take`, in the order of the records; send nothing to Kafka."""
        self.values += [record.value or b"" for record in records]

    async def ping(self) -> None:
        """Do nothing: the broker in memory is always available, so BrokerUnavailable is never raised."""

    def take(self) -> list[Mapping[str, str]]:
        """Return the data of all events that were published since the last call, oldest first."""
        values, self.values = self.values, []
        return [orjson.loads(value)["data"] for value in values]


async def _ticks(database: Database) -> list[Row]:
    """Run the release loop of a scheduler step by step (a tick is one step), and return the table's rows.

    Photos are recorded as downloaded at the feed's rate, and the clock is simulated. The rows say how long ticks and
    their queries take, and how much the memory of this process grew.
    """
    listings, broker, moment = MongoListings(database, RENDERER), MemoryBroker(), [utc_now()]
    timed, process = Timed(listings), psutil.Process()

    def clock() -> datetime:
        return moment[0]

    lease = Lease(mongo.MongoLeases(database), "release", "bench", clock)
    publisher = Publisher(broker, "", "scheduler", clock)
    release = Releaser(cast("MongoListings", timed), lease, publisher, {FEED: RULES}, clock, CollectorRegistry())
    took: list[float] = []
    released, waiting, before = 0, list[Mapping[str, str]](), 0
    for tick in range(WARM_UP_TICKS + TICKS):
        if tick == WARM_UP_TICKS:
            took.clear()
            timed.milliseconds.clear()
            released, before = 0, process.memory_info().rss
        began = time.perf_counter()
        released += await release.tick()
        took.append((time.perf_counter() - began) * 1000)
        waiting += broker.take()
        done, waiting = waiting[: _per_tick()], waiting[_per_tick() :]
        await _finish(listings, done, clock())
        moment[0] += timedelta(seconds=TICK_SECONDS)
    grown = (process.memory_info().rss - before) / 1e6
    rows = [Row(f"photos released in {TICKS} ticks", released, "photos"), *spread("a tick of the scheduler", took)]
    for name, query in (("in_flight", "photos in flight"), ("due", "most urgent"), ("oldest_due", "oldest due")):
        rows += spread(f"  of which the query: {query}", timed.milliseconds[name])
    rows += spread("  of which the write: released_at", timed.milliseconds["write"])
    return [*rows, Row(f"growth of memory in {TICKS} ticks", grown, "MB")]


def _per_tick() -> int:
    return int(RULES.requests_per_second * TICK_SECONDS)


async def _finish(listings: MongoListings, done: Sequence[Mapping[str, str]], now: datetime) -> None:
    """Record released photos as downloaded at `now`, as downloaders would: with a copy, and no longer in flight.

    `done` has the data of the photos' `image-outdated` events, each a dict by field name.
    """
    ids: dict[tuple[str, str], set[str]] = {}
    for event in done:
        ids.setdefault((event["feed"], event["listing_key"]), set()).add(event["image_id"])
    recorded = await listings.get_many(list(ids))
    await listings.write(
        listing.with_photos(
            replace(
                photo, released_at=None,
                copy=a_copy(photo.object_id, key=listing.key, mls_changed_at=photo.announced_at),
                not_before=now,
            )
            for photo in listing.photos
            if photo.id in ids[listing_id]
        )
        for listing_id, listing in recorded.items()
    )  # fmt: skip


# The other queries of the loops

QUERIES: Mapping[str, tuple[Callable[[MongoListings], Awaitable[object]], str]] = {
    "the most urgent 100 listings": (lambda store: store.due(FEED, utc_now(), 100), "due_at"),
    "the oldest 10 listings": (lambda store: store.oldest_due(FEED, utc_now(), 10), "due_at"),
    "photos ahead of a photo in the queue": (
        lambda store: store.ahead_of(FEED, Priority.ROUTINE, utc_now(), utc_now()),
        "due_at",
    ),
    "photos in flight": (lambda store: store.in_flight(FEED, utc_now()), "leased_until"),
    "20 listings with due removals": (lambda store: store.removal_due(utc_now(), 20), "removal_due_at"),
    "listings hidden within the last hour": (
        lambda store: store.turned_hidden(
            FEED, RemovalReason.LISTING_INACTIVE, utc_now() - timedelta(hours=1), utc_now()
        ),
        "hidden.since",
    ),
    "the number of displayed listings": (lambda store: store.displayed_count(FEED), "photos.status"),
    "50 listings on hold": (lambda store: store.held(FEED, RemovalReason.LISTING_INACTIVE, 50), "seen_at"),
    "5,000 keys for a sweep to compare": (lambda store: store.displayed_keys(FEED, "W8", 5_000), "photos.status"),
    "the recorded states of 500 listings": (
        lambda store: store.recorded_states([(FEED, f"W{_token(number).decode()}") for number in range(500)]),
        "modified_at",
    ),
    "50 listings to recheck": (lambda store: store.recheck_due(FEED, utc_now(), 50), "checked_at"),
    "a worker's own claims": (lambda store: store.claimed_by("downloader-1", 100), "photos.claim.worker"),
    "a page of 20 listings to audit": (lambda store: store.page(FEED, "W8", 20), "seen_at"),
    "the listing of an image": (lambda store: store.by_image(_photo_id(0, _token(7).decode())), "photos.id"),
    "one batch of the counts of a feed": (
        lambda store: anext(store._count_batches(FEED, displayed=True)),  # noqa: SLF001
        "photos.status",
    ),
    "all counts of a feed": (lambda store: store.counts(FEED, utc_now()), "photos.status"),
}
"""The queries by name, each with the field that a collection scan would have to read instead."""


async def _measured(database: Database, name: str) -> list[Row]:
    query, field = QUERIES[name]
    store, took = MongoListings(database, RENDERER), list[float]()
    await query(store)
    for _ in range(50):
        began = time.perf_counter()
        await query(store)
        took.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    await database["listings"].count_documents({field: None}, hint={"$natural": 1})
    naive = (time.perf_counter() - began) * 1000
    keys, documents, plans = await _examined(database, lambda: query(store))
    if "COLLSCAN" in plans:
        raise RuntimeError(f"{name}: reads the whole collection: {plans}")
    return [
        *spread(name, took, naive),
        Row(f"  index keys and documents read: {plans}", keys + documents, "reads", LISTINGS, "every listing"),
    ]


async def _examined(database: Database, query: Callable[[], Awaitable[object]]) -> tuple[int, int, str]:
    """Call `query`, and return how many index keys and documents MongoDB read for it, and the query plans in words.

    `query` sends one or more queries to the collection `listings` of `database`. MongoDB's profiler is switched on
    during the call, and gives the numbers.
    """
    await database.command("profile", 2)
    await query()
    await database.command("profile", 0)
    found = await database["system.profile"].find({"ns": f"{database.name}.listings"}).to_list(None)
    await database.drop_collection("system.profile")
    plans = dict.fromkeys(entry["planSummary"] for entry in found if entry.get("planSummary"))
    names = ", ".join(plan.replace("IXSCAN ", "")[:60] for plan in plans)
    return (
        sum(entry.get("keysExamined", 0) for entry in found),
        sum(entry.get("docsExamined", 0) for entry in found),
        names,
    )


def spread(
    name: str, milliseconds: Sequence[float], naive: float | None = None, against: str = WITHOUT_INDEX
) -> list[Row]:
    """Return two rows for a sample of durations in ms: one for the median, one for the 99th percentile.

    `name` is the beginning of the rows' names. `naive` is the baseline of the median in ms, described by `against`;
    None for no baseline.
    """
    percentile = statistics.quantiles(milliseconds, n=100, method="inclusive")[98]
    return [
        Row(f"{name}, median", statistics.median(milliseconds), "ms", naive, against if naive else ""),
        Row(f"{name}, 99th percentile", percentile, "ms"),
    ]
