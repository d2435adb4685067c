"""Listings recorded per second in a burst, compared with a write for each listing and a write for each photo."""

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaProducer

from bench.rows import Row
from shared.domain import announcement, reconcile
from shared.domain.feed import Feed
from shared.domain.feed_file import parse_feeds
from shared.domain.freshness import Position
from shared.render import Renderer
from shared.stores import mongo
from tests import system
from tests.servers import Servers, a_namespace
from tests.system import System, until

LISTINGS, PHOTOS, PLAIN = 2_000, 40, 100
FEEDS = """
[feeds.sandbox]
image_hosts = ["127.0.0.1:9"]
allow_private_addresses = true
requests_per_second = 0.1
"""


async def run(servers: Servers) -> list[Row]:
    """Measure three bursts: new listings, the same listings unchanged, and the same listings with newer photos.

    Return the table's rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        namespace = a_namespace(servers)
        async with system.running(namespace, FEEDS, Path(folder), "scheduler", "janitor") as whole:
            feed = parse_feeds(FEEDS)["sandbox"]
            async with mongo.connect(servers.mongo, f"{namespace.db}plain") as database:
                await mongo.apply_indexes(database)
                plain = await _one_by_one(mongo.MongoListings(database, Renderer("http://x")), feed)
                naive = await _photo_by_photo(database, feed)
            scheduler = psutil.Process(whole.pid("scheduler"))
            before = scheduler.memory_info().rss
            new, peak = await _burst(whole, scheduler, changed_at="2026-11-23T09:00:00Z")
            again, _ = await _burst(whole, scheduler, changed_at="2026-11-23T09:00:00Z")
            newer, later_peak = await _burst(whole, scheduler, changed_at="2026-11-23T10:00:00Z")
    against = "a read and a write for each listing"
    burst = f"a burst of {LISTINGS:,} listings of {PHOTOS} photos"
    return [
        Row(f"{burst}, all new", new, "listings/s", naive, "a read for each listing, a write for each photo"),
        Row(f"{burst}, all new", new, "listings/s", plain, against),
        Row("the same listings again, unchanged", again, "listings/s", plain, against),
        Row("the same listings, every photo changed", newer, "listings/s", plain, against),
        Row("peak memory of the scheduler, first burst", peak / 1e6, "MB", before / 1e6, "before the burst"),
        Row("peak memory of the scheduler, third burst", later_peak / 1e6, "MB", peak / 1e6, "the first burst"),
    ]


async def _burst(whole: System, scheduler: psutil.Process, changed_at: str) -> tuple[float, float]:
    """Publish all listings, with `changed_at` as all their times, and wait until both services have recorded them.

    The services are the scheduler and the janitor. `scheduler` is the scheduler's process. Return how many listings
    were recorded a second, and the peak of the scheduler's resident memory in bytes.
    """
    values = [_event(number, changed_at) for number in range(LISTINGS)]
    before = await _recorded(whole)
    began = time.monotonic()
    async with AIOKafkaProducer(bootstrap_servers=whole.namespace.servers.kafka, linger_ms=5) as producer:
        topic = f"{whole.namespace.prefix}listing-seen"
        sent = [await producer.send(topic, value, key=b"%d" % number) for number, value in enumerate(values)]
        await asyncio.gather(*sent)

    peak = 0

    async def all_recorded() -> bool:
        nonlocal peak
        await asyncio.sleep(0.1)
        peak = max(peak, scheduler.memory_info().rss)
        return all(now - then >= LISTINGS for now, then in zip(await _recorded(whole), before, strict=True))

    await until(all_recorded, "the burst", seconds=300)
    return LISTINGS / (time.monotonic() - began), peak


async def _recorded(whole: System) -> list[float]:
    """Return how many announcements the scheduler has recorded, then how many the janitor has.

    The numbers are read from the two services' metrics.
    """
    counts = []
    for name in ("scheduler", "janitor"):
        text = (await whole.http.get(f"{whole.url(name)}/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("listing_images_announcements_total")]
        counts.append(sum(float(line.rsplit(" ", 1)[1]) for line in lines))
    return counts


async def _one_by_one(listings: mongo.MongoListings, feed: Feed) -> float:
    began = time.monotonic()
    for number in range(PLAIN):
        record = json.loads(_event(number, "2026-11-23T09:00:00Z"))["data"]["property"]
        announced = announcement.read(feed, record, Position(datetime.now(UTC), 0, number))
        recorded = await listings.get(announced.feed, announced.listing_key)
        listing = reconcile.apply(recorded, announced, feed, datetime.now(UTC))
        if listing is not None:
            await listings.write([listing])
    return PLAIN / (time.monotonic() - began)


async def _photo_by_photo(database: mongo.Database, feed: Feed) -> float:
    """Return how many listings a second are recorded by a naive design.

    The design has a document for each photo, and writes each changed photo by a command of its own.
    """
    photos = database["plain_photos"]
    await photos.create_index("listing_key")
    began = time.monotonic()
    for number in range(PLAIN):
        record = json.loads(_event(number, "2026-11-23T09:00:00Z"))["data"]["property"]
        announced = announcement.read(feed, record)
        stored = {
            photo["_id"]: photo for photo in await photos.find({"listing_key": announced.listing_key}).to_list(None)
        }
        for order, photo in enumerate(announced.photos or ()):
            facts = {"listing_key": announced.listing_key, "url": photo.url, "order": order, "at": photo.own_changed_at}
            if stored.get(photo.object_id) != facts:
                await photos.update_one({"_id": photo.object_id}, {"$set": facts}, upsert=True)
    return PLAIN / (time.monotonic() - began)


def _event(number: int, changed_at: str) -> bytes:
    return json.dumps(
        {"type": "listing-seen.v1", "data": {"feed": "sandbox", "property": _record(number, changed_at)}}
    ).encode()


def _record(number: int, changed_at: str) -> Mapping[str, Any]:
    """Return the property record of listing `number`, with three sizes of every photo.

    All its times are `changed_at`.
    """
    return {
        "ListingKey": f"C{number}",
        "StandardStatus": "Active",
        "City": "Toronto",
        "ModificationTimestamp": changed_at,
        "PhotosChangeTimestamp": changed_at,
        "PublicRemarks": "A bright corner unit close to everything. " * 20,
        "Media": [
            {
                "MediaKey": f"{number}-{photo}-{size}",
                "MediaObjectID": f"{number}-{photo}",
                "MediaURL": f"http://127.0.0.1:9/{number}/{photo}/{size}/rs:fit:1920:1920/signature-{'x' * 60}.jpg",
                "ImageSizeDescription": size,
                "Order": photo,
                "MediaModificationTimestamp": changed_at,
                "MediaCategory": "Photo",
                "Permission": ["Public"],
                "ShortDescription": "A room",
            }
            for photo in range(PHOTOS)
            for size in ("Largest", "Medium", "Thumbnail")
        ],
    }
