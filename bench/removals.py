"""Images removed per second, compared with a removal photo by photo, and with deletions of objects alone.

The memory measured is the growth of the process, with the janitor's parts in it, to its peak. With 50,000 images the
benchmark takes some minutes on two cores, mostly to store the objects first.
"""

import asyncio
import gc
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry

from bench.rows import Row
from services.janitor.evidence import RemovalReports
from services.janitor.guard import Guard
from services.janitor.photo_objects import PhotoObjects
from services.janitor.removal import Remover
from shared import log
from shared.clock import utc_now
from shared.domain.listing import Listing, copy_keys
from shared.events.images import ImageRemoved
from shared.events.topics import MANIFEST
from shared.kafka import Broker, apply_topics
from shared.lease import Lease
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.minio_objects import MinioObjects
from shared.stores.objects import Bucket
from shared.stores.removals import Removal
from tests.builders import FEED, a_downloaded_photo, a_feed, a_listing, hidden
from tests.contract.test_objects import settings_of
from tests.servers import Namespace, Servers, a_namespace

PHOTOS = 40
REMOVED, PLAIN = 125, 5
"""The numbers of listings: 5,000 images removed by the sweep, 200 photo by photo."""


async def run(servers: Servers) -> list[Row]:
    """Measure three ways to remove images, each after its objects were stored; return the rows of the table."""
    log.configure(
        "bench", "warning", "json"
    )  # the info level has a log line for each image, which would be measured too
    namespace = a_namespace(servers)
    await apply_topics(servers.kafka, namespace.prefix, MANIFEST)
    objects = MinioObjects(settings_of(namespace))
    await objects.apply_buckets()
    try:
        async with mongo.connect(servers.mongo, namespace.db) as database:
            await mongo.apply_indexes(database)
            parts = _Parts(namespace, database, objects)
            try:
                raw = await _raw(objects, _hidden("R", PLAIN * 4))
                plain = await _photo_by_photo(parts, _hidden("P", PLAIN))
                ours, memory = await _rounds(parts, _hidden("X", REMOVED))
            finally:
                await parts.broker.close()
    finally:
        objects.close()
    name = f"images removed, {REMOVED} listings of {PHOTOS}"
    return [
        Row(name, ours, "images/s", plain, "a removal photo by photo"),
        Row(name, ours, "images/s", raw, "only the multi-object deletes"),
        Row("growth of memory during the removals", memory, "MB"),
    ]


class _Parts:
    """The parts of a janitor that the benchmark runs in its own process, with the real servers of a namespace."""

    def __init__(self, namespace: Namespace, database: mongo.Database, objects: MinioObjects) -> None:
        self.renderer, registry = Renderer("https://cdn.example.com"), CollectorRegistry()
        self.broker, self.objects = Broker(namespace.servers.kafka), objects
        self.listings = mongo.MongoListings(database, self.renderer)
        self.removals = mongo.MongoRemovals(database)
        self.publisher = Publisher(self.broker, namespace.prefix, "janitor", utc_now)
        feeds = {FEED: a_feed(removal_freeze_share=1.0)}
        guard = Guard(self.listings, mongo.MongoRemovalHolds(database), feeds, utc_now, registry)
        lease = Lease(mongo.MongoLeases(database), "removal", "bench", utc_now)
        reports = RemovalReports(self.removals, self.publisher, self.renderer, registry)
        self.remover = Remover(self.listings, PhotoObjects(objects), reports, guard, lease, utc_now, registry)


def _hidden(prefix: str, count: int) -> list[Listing]:
    return [
        a_listing(
            *(a_downloaded_photo(f"{photo}", key=f"{prefix}{number}") for photo in range(PHOTOS)),
            key=f"{prefix}{number}", hidden=replace(hidden(), held_until=None),
        )
        for number in range(count)
    ]  # fmt: skip


async def _store(objects: MinioObjects, listings: Sequence[Listing]) -> None:
    with tempfile.NamedTemporaryFile() as source:
        source.write(b"x" * 200)
        source.flush()
        for listing in listings:
            stored = [
                (Bucket.ORIGINALS if "/original." in key else Bucket.PUBLIC, key)
                for photo in listing.photos
                if photo.copy
                for key in copy_keys(photo.copy)
            ]
            await asyncio.gather(*(objects.put(bucket, key, Path(source.name), "image/webp") for bucket, key in stored))


async def _raw(objects: MinioObjects, listings: Sequence[Listing]) -> float:
    await _store(objects, listings)
    keys = [key for listing in listings for photo in listing.photos if photo.copy for key in copy_keys(photo.copy)]
    began = time.monotonic()
    await asyncio.gather(
        objects.delete(Bucket.ORIGINALS, [key for key in keys if "/original." in key]),
        objects.delete(Bucket.PUBLIC, [key for key in keys if "/original." not in key]),
    )
    return len(listings) * PHOTOS / (time.monotonic() - began)


async def _photo_by_photo(parts: _Parts, listings: Sequence[Listing]) -> float:
    """Return how many images are removed a second if each photo is removed by calls of its own.

    These calls delete the photo's objects, add its evidence, publish its event, and write its listing.
    """
    await _store(parts.objects, listings)
    await parts.listings.write(listings)
    began = time.monotonic()
    for stored in listings:
        listing = await parts.listings.get(stored.feed, stored.key)
        while listing and listing.photos:
            photo, now = listing.photos[0], utc_now()
            for key in copy_keys(photo.copy) if photo.copy else ():
                await parts.objects.delete(Bucket.ORIGINALS if "/original." in key else Bucket.PUBLIC, [key])
            line = Removal(
                id=photo.id, feed=stored.feed, listing_key=stored.key, image_id=photo.id, reason="listing-inactive",
                hidden_at=now, removed_at=now, objects=3,
            )  # fmt: skip
            await parts.removals.add([line])
            event = ImageRemoved(
                feed=stored.feed, listing_key=stored.key, image_id=photo.id, reason="listing-inactive",
                removed_at=now, urls=(),
            )  # fmt: skip
            await parts.publisher.publish([event])
            await parts.listings.write([replace(listing, photos=listing.photos[1:])])
            listing = await parts.listings.get(stored.feed, stored.key)
    return len(listings) * PHOTOS / (time.monotonic() - began)


async def _rounds(parts: _Parts, listings: list[Listing]) -> tuple[float, float]:
    """Return how many images the janitor's sweep removes a second, and the MB by which this process grew to its peak.

    The list `listings` is emptied once its listings are written, so that the memory of the listings is not counted.
    """
    await _store(parts.objects, listings)
    for first in range(0, len(listings), 50):
        await parts.listings.write(listings[first : first + 50])
    listings.clear()
    gc.collect()
    process, count = psutil.Process(), REMOVED * PHOTOS
    before = peak = process.memory_info().rss
    began = time.monotonic()
    sweep = asyncio.create_task(parts.remover.sweep())
    while not sweep.done():
        await asyncio.wait([sweep], timeout=0.2)
        peak = max(peak, process.memory_info().rss)
    assert await sweep == REMOVED
    return count / (time.monotonic() - began), (peak - before) / 1e6
