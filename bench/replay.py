"""Measures a replay of 100,000 events: its planning, compared with a read for each event, and its effects."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.rows import Row
from ops import replay, replay_plan
from ops.replay import EventSource, Replay, ReplayProgress
from shared import kafka
from shared.clock import utc_now
from shared.domain import announcement, reconcile
from shared.domain.feed import Feed
from shared.domain.feed_file import parse_feeds
from shared.domain.freshness import Position
from shared.events.records import Record
from shared.events.topics import LISTING_SEEN
from shared.kafka import Broker, OffsetRange
from shared.render import Renderer
from shared.stores import mongo
from tests import system
from tests.servers import Servers, a_namespace
from tests.system import System, until

LISTINGS, PHOTOS, READINGS, PLAIN = 10_000, 10, 10, 500
OLDER = 3
"""How many of the ten events of each listing announce an older version. The others announce the recorded version."""
FEEDS = """
[feeds.sandbox]
image_hosts = ["127.0.0.1:9"]
allow_private_addresses = true
requests_per_second = 0.1
"""


async def run(servers: Servers) -> list[Row]:
    """Measure plans of a replay, without and with changes, and the replay itself; return the rows of the table.

    At the end, scheduler and janitor read all events, and the photos that became due are counted.
    """
    feed, namespace = parse_feeds(FEEDS)["sandbox"], a_namespace(servers)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            system.running(namespace, FEEDS, Path(folder), "resolver") as whole,
            mongo.connect(servers.mongo, namespace.db) as database,
        ):
            listings = mongo.MongoListings(database, Renderer(""))
            await _record_all(listings, feed)
            topic = f"{namespace.prefix}{LISTING_SEEN}"
            for reading in range(READINGS):
                await _publish(servers.kafka, topic, _changed_at(reading))
            source = replay.from_topic(
                servers.kafka, topic, await kafka.offset_ranges(servers.kafka, topic, None, None)
            )
            nothing_new = await _planned(source, listings, feed, changing=0)
            all_new = await _planned(_changing(), listings, feed, changing=source.size)
            plain = await _one_by_one(source, listings, feed)
            rate = await _run(servers.kafka, topic, source)
            before = await listings.counts(feed.name, utc_now())
            await whole.start("scheduler", "janitor")
            await _caught_up(whole, topic)
            after = await listings.counts(feed.name, utc_now())
    due = sum(after.queued.values()) - sum(before.queued.values())
    events = f"{source.size:,} events"
    return [
        *_rows(f"replay of {events} planned, nothing new", nothing_new, plain * source.size),
        *_rows("the same, where each of them changes its listing", all_new, plain * source.size),
        Row(f"replay of {events} published", rate, "events/s"),
        Row("photos that became due after scheduler and janitor read them", due, "photos"),
    ]


def _changed_at(reading: int) -> str:
    return f"2026-11-{20 if reading < OLDER else 23}T09:00:00Z"


async def _record_all(listings: mongo.MongoListings, feed: Feed) -> None:
    for first in range(0, LISTINGS, 500):
        announcements = [
            announcement.read(feed, _record(number, _changed_at(READINGS)), Position(utc_now(), 0, 0))
            for number in range(first, first + 500)
        ]
        reconciled = (reconcile.apply(None, announced, feed, utc_now()) for announced in announcements)
        await listings.write(listing for listing in reconciled if listing)


async def _planned(
    source: EventSource, listings: mongo.MongoListings, feed: Feed, *, changing: int
) -> tuple[float, float]:
    """Plan a replay of all events of `source`; return the seconds that it took, and the CPU seconds of this process.

    `listings` are the recorded listings that the plan reads, and `feed` is that of the events. Raises RuntimeError
    unless the plan says that `changing` events change their listings, and all others do not.
    """
    began, worked = time.monotonic(), time.process_time()
    plan = await replay_plan.plan(Replay(LISTING_SEEN, source), listings, {feed.name: feed}, utc_now())
    took = time.monotonic() - began, time.process_time() - worked
    if (plan.events, plan.changing, plan.unchanged) != (source.size, changing, source.size - changing):
        raise RuntimeError(f"not what was published: {plan}")
    return took


def _rows(name: str, took: tuple[float, float], plain: float) -> list[Row]:
    seconds, worked = took
    return [
        Row(name, seconds, "s", plain, "one read and all rules an event"),
        Row("  of it this process's CPU", worked, "s"),
    ]


def _changing() -> EventSource:
    """Return a source of 100,000 events. It makes the events while the caller reads them.

    Each event announces newer photos than all earlier events of its listing.
    """

    async def read(_: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
        for first in range(0, LISTINGS * READINGS, 500):
            yield [_newer_record(offset) for offset in range(first, first + 500)]

    return EventSource([OffsetRange(0, 0, LISTINGS * READINGS)], read)


def _newer_record(offset: int) -> Record:
    reading, number = divmod(offset, LISTINGS)
    value = _event(number, f"2026-11-24T{reading:02}:00:00Z")
    return Record(LISTING_SEEN, 0, offset, utc_now(), b"C%d" % number, value, ())


async def _one_by_one(source: EventSource, listings: mongo.MongoListings, feed: Feed) -> float:
    """Return how many seconds a plan takes for an event, on average, if a query reads the listing of each event."""
    began, done = time.monotonic(), 0
    some = [replace(span, end=min(span.end, span.start + PLAIN)) for span in source.ranges[:1]]
    async for records in source.read(some):
        for record in records:
            announced = announcement.read(feed, json.loads(record.value or b"")["data"]["property"], record.position)
            recorded = await listings.get(announced.feed, announced.listing_key)
            reconcile.apply(recorded, announced, feed, utc_now())
            done += 1
    return (time.monotonic() - began) / done


async def _run(bootstrap: str, topic: str, source: EventSource) -> float:
    broker, progress, began = Broker(bootstrap), ReplayProgress([]), time.monotonic()
    try:
        await replay.publish(Replay(LISTING_SEEN, source), topic, broker, 0, progress)
    finally:
        await broker.close()
    return progress.published / (time.monotonic() - began)


async def _publish(bootstrap: str, topic: str, changed_at: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        for first in range(0, LISTINGS, 2_000):
            numbers = range(first, first + 2_000)
            sent = [await producer.send(topic, _event(number, changed_at), key=b"C%d" % number) for number in numbers]
            await asyncio.gather(*sent)


async def _caught_up(whole: System, topic: str) -> None:
    async def nothing_left() -> bool:
        groups = {f"{whole.namespace.prefix}{name}": [topic] for name in ("scheduler", "janitor")}
        behind = await kafka.lag_of_groups(whole.namespace.servers.kafka, groups)
        await asyncio.sleep(0.5)
        return not any(sum(left.values()) for left in behind.values())

    await until(nothing_left, "scheduler and janitor to read all events", seconds=1_200)


def _event(number: int, changed_at: str) -> bytes:
    return json.dumps(
        {"type": "listing-seen.v1", "data": {"feed": "sandbox", "property": _record(number, changed_at)}}
    ).encode()


def _record(number: int, changed_at: str) -> Mapping[str, Any]:
    return {
        "ListingKey": f"C{number}",
        "StandardStatus": "Active",
        "City": "Toronto",
        "ModificationTimestamp": changed_at,
        "MediaChangeTimestamp": changed_at,
        "PublicRemarks": "A bright corner unit close to everything. " * 20,
        "Media": [
            {
                "MediaKey": f"{number}-{photo}",
                "MediaURL": f"http://127.0.0.1:9/{number}/{photo}/rs:fit:1920:1920/signature-{'x' * 60}.jpg",
                "ImageSizeDescription": "Largest",
                "Order": photo,
                "Permission": ["Public"],
            }
            for photo in range(PHOTOS)
        ],
    }
