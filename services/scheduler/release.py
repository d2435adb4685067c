"""Releases what is due, most urgent first: marks photos with a lease, then tells the downloaders."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.scheduler.window import Window
from shared import log, tracing
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.feed import Feed
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.domain.throughput import Throughput
from shared.events.images import ImageOutdated
from shared.kafka import BrokerUnavailable
from shared.lease import Lease
from shared.publisher import Publisher
from shared.stores.documents import ListingId
from shared.stores.release_queue import ReleaseQueue
from shared.stores.throughputs import Throughputs

_logger = log.get(__name__)
_MOST_LISTINGS = 100
_BY_AGE = 0.1
"""The share released by age alone, so that nothing starves."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A due photo, and its listing as it was read."""

    listing: Listing
    photo: Photo


class Release:
    """The loop of the one scheduler that holds the lease; two would do no harm, for marking is conditional."""

    def __init__(
        self,
        listings: ReleaseQueue,
        lease: Lease,
        publisher: Publisher,
        feeds: Mapping[str, Feed],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._lease = lease
        self._publisher = publisher
        self._feeds = feeds
        self._clock = clock
        self._by_age = dict.fromkeys(feeds, 0.0)
        self._windows = {name: Window(clock()) for name in feeds}
        self._released = Counter("listing_images_released", "Photos released", ["feed"], registry=registry)
        self._expired = Counter(
            "listing_images_leases_expired", "Photos due again, for nobody finished them", ["feed"], registry=registry
        )
        self._in_work = Gauge("listing_images_in_flight", "Photos released, unfinished", ["feed"], registry=registry)

    async def tick(self) -> int:
        """Release what has room, feed by feed; return how many photos. Raises StoreUnavailable, BrokerUnavailable."""
        if not await self._lease.is_held():
            self._in_work.clear()  # another scheduler's figures count
            return 0
        now = self._clock()
        return sum([await self._release(feed, now) for feed in self._feeds.values()])

    async def report(self, throughputs: Throughputs) -> None:
        """Record how fast each feed's photos are finished, for whoever estimates. Raises StoreUnavailable."""
        if await self._lease.is_held():
            for feed, window in self._windows.items():
                if window.in_work:
                    await throughputs.put(feed, Throughput(window.at, window.finished_per_second))

    async def _release(self, feed: Feed, now: datetime) -> int:
        window = self._windows[feed.name].observed(await self._listings.in_flight(feed.name, now), now, feed)
        self._windows[feed.name] = window
        self._in_work.labels(feed.name).set(window.in_work)
        room = window.room(feed)
        chosen = await self._choose(feed.name, room, now) if room else []
        if not chosen:
            return 0
        await self._publisher.ping()  # nothing is marked that could not be said
        marked = await self._mark(chosen, now)
        try:
            await self._publisher.publish(ImageOutdated.of(one, photo) for one, photos in marked for photo in photos)
        except BrokerUnavailable:
            # Due as before, and not only once the lease ends; who heard of it all the same has claimed it by now.
            await self._listings.write(one.reverted() for one, _ in marked)
            raise
        ids = {photo.id for _, photos in marked for photo in photos}
        self._report([one for one in chosen if one.photo.id in ids], now)
        self._windows[feed.name] = window.released(len(ids))
        self._released.labels(feed.name).inc(len(ids))
        return len(ids)

    async def _choose(self, feed: str, room: int, now: datetime) -> list[Chosen]:
        """Return at most `room` due photos: a few by age alone, the rest by priority and age."""
        # No more than this tick's share is owed: what there was no need to release while nothing was due is not.
        self._by_age[feed] = min(self._by_age[feed] + room * _BY_AGE, max(1.0, room * _BY_AGE))
        chosen: dict[str, Chosen] = {}
        if old := int(self._by_age[feed]):
            oldest = _due(await self._listings.oldest_due(feed, now, min(old, _MOST_LISTINGS)), now)
            chosen = {one.photo.id: one for one in sorted(oldest, key=_age)[:old]}
            self._by_age[feed] -= len(chosen)
        urgent = _due(await self._listings.due(feed, now, min(room, _MOST_LISTINGS)), now)
        for one in sorted(urgent, key=_urgency):
            if len(chosen) >= room:
                break
            chosen[one.photo.id] = one
        return list(chosen.values())

    async def _mark(self, chosen: Sequence[Chosen], now: datetime) -> list[tuple[Listing, list[Photo]]]:
        """Give the photos their lease, in one write; return them with their listings as they were read.

        A listing that changed meanwhile is left for the next tick.
        """
        by_listing: dict[ListingId, tuple[Listing, list[Photo]]] = {}
        for one in chosen:
            _, photos = by_listing.setdefault((one.listing.feed, one.listing.key), (one.listing, []))
            photos.append(lifecycle.release(one.photo, now))
        refused = await self._listings.write(listing.with_photos(photos) for listing, photos in by_listing.values())
        return [marked for one, marked in by_listing.items() if one not in refused]

    def _report(self, released: Iterable[Chosen], now: datetime) -> None:
        for one in released:
            facts = {"feed": one.listing.feed, "listing_key": one.listing.key, "image_id": one.photo.id}
            if one.photo.released_at is not None:
                # An event was lost, or a worker: rare, and otherwise seen only as a photo that comes late.
                self._expired.labels(one.listing.feed).inc()
                worker = one.photo.claim.worker if one.photo.claim else None
                _logger.warning("lease-expired", **facts, released_at=str(one.photo.released_at), worker=worker)
            _logger.info("image-released", **facts, correlation_id=one.photo.cause)
            tracing.record_span("wait", one.photo.cause, (now - one.photo.not_before).total_seconds(), **facts)


def _due(listings: Iterable[Listing], now: datetime) -> list[Chosen]:
    return [
        Chosen(listing, photo)
        for listing in listings
        for photo in listing.photos
        if (due_at := listing.photo_due_at(photo)) and due_at <= now
    ]


def _age(one: Chosen) -> tuple[datetime, int]:
    return one.photo.not_before, one.photo.order


def _urgency(one: Chosen) -> tuple[int, datetime, bool, str, int]:
    """Among equals the listings' first photos, which search pages show; then listing by listing, to be few writes."""
    is_first = one.photo is one.listing.photos[0]
    return one.photo.priority.rank, one.photo.not_before, not is_first, one.listing.key, one.photo.order
