"""Listings reconciled per second, beside the same rules with one read and one write a listing."""

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.rows import Row
from shared.domain import announcement, reconcile
from shared.domain.feed import Feed, parse_feeds
from shared.domain.freshness import Position
from shared.render import Renderer
from shared.stores import mongo
from tests import system
from tests.servers import Servers, a_room
from tests.system import System, until

LISTINGS, PHOTOS, PLAIN = 3_000, 25, 300
FEEDS = """
[feeds.sandbox]
image_hosts = ["127.0.0.1:9"]
allow_private_addresses = true
requests_per_second = 0.1
"""


async def run(servers: Servers) -> list[Row]:
    """Measure a burst of new listings, then the same listings again."""
    with tempfile.TemporaryDirectory() as folder:
        room = a_room(servers)
        async with system.running(room, FEEDS, Path(folder), "scheduler", "janitor") as whole:
            feed = parse_feeds(FEEDS)["sandbox"]
            async with mongo.connect(servers.mongo, f"{room.db}plain") as database:
                await mongo.apply_indexes(database)
                plain = await _one_by_one(mongo.MongoListings(database, Renderer("http://x")), feed)
            new = await _burst(whole, changed_at="2026-11-23T09:00:00Z")
            again = await _burst(whole, changed_at="2026-11-23T09:00:00Z")
    against = "one read and one write a listing"
    return [
        Row(f"new listings of {PHOTOS} photos reconciled", new, "listings/s", plain, against),
        Row("the same listings again", again, "listings/s", plain, against),
    ]


async def _burst(whole: System, changed_at: str) -> float:
    """Publish all listings and return how many a second both scheduler and janitor were done with."""
    values = [_event(number, changed_at) for number in range(LISTINGS)]
    before = await _heard(whole)
    began = time.monotonic()
    async with AIOKafkaProducer(bootstrap_servers=whole.room.servers.kafka, linger_ms=5) as producer:
        topic = f"{whole.room.prefix}listing-seen"
        sent = [await producer.send(topic, value, key=b"%d" % number) for number, value in enumerate(values)]
        await asyncio.gather(*sent)

    async def all_heard() -> bool:
        await asyncio.sleep(0.1)
        return all(now - then >= LISTINGS for now, then in zip(await _heard(whole), before, strict=True))

    await until(all_heard, "the burst", seconds=300)
    return LISTINGS / (time.monotonic() - began)


async def _heard(whole: System) -> list[float]:
    """How many listings each of both has heard of, by its own count."""
    counts = []
    for name in ("scheduler", "janitor"):
        text = (await whole.http.get(f"{whole.url(name)}/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("listing_images_heard_total")]
        counts.append(sum(float(line.rsplit(" ", 1)[1]) for line in lines))
    return counts


async def _one_by_one(listings: mongo.MongoListings, feed: Feed) -> float:
    began = time.monotonic()
    for number in range(PLAIN):
        record = json.loads(_event(number, "2026-11-23T09:00:00Z"))["data"]["property"]
        said = announcement.read(feed, record, Position(datetime.now(UTC), 0, number))
        known = await listings.get(said.feed, said.listing_key)
        listing = reconcile.record(known, said, feed, datetime.now(UTC))
        if listing is not None:
            await listings.write([listing])
    return PLAIN / (time.monotonic() - began)


def _event(number: int, changed_at: str) -> bytes:
    return json.dumps(
        {"type": "listing-seen.v1", "data": {"feed": "sandbox", "property": _record(number, changed_at)}}
    ).encode()


def _record(number: int, changed_at: str) -> Mapping[str, Any]:
    """A record as an MLS has it: three sizes of every photo."""
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
