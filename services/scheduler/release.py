"""Releases due photos, the most urgent first: records a lease on each photo, then publishes `image-outdated`."""

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
from shared.stores.errors import StoreUnavailable
from shared.stores.release_queue import ReleaseQueue
from shared.stores.throughputs import Throughputs
from shared.stores.updates import write_others

_logger = log.get(__name__)
_MAX_LISTINGS = 100
_OLDEST_SHARE = 0.1
"""The share of photos that is released by age alone, so that no priority waits forever."""


@dataclass(frozen=True, slots=True)
class DuePhoto:
    """Holds a due photo, and its whole listing as it was read from MongoDB."""

    listing: Listing
    photo: Photo


@dataclass(frozen=True, slots=True)
class _ReleasedListing:
    """Holds a listing as it was read before the release, and its released photos as they are to be written."""

    listing: Listing
    photos: list[Photo]


class Releaser:
    """Releases the due photos of all feeds, in the one scheduler that holds the lease `lease`.

    If two schedulers release at the same time, no photo is released twice, since each write is conditional.
    """

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
        self._oldest_owed = dict.fromkeys(feeds, 0.0)
        self._windows = {name: Window(clock()) for name in feeds}
        self._released = Counter("listing_images_released", "Photos released", ["feed"], registry=registry)
        self._expired = Counter(
            "listing_images_leases_expired", "Photos due again, for nobody finished them", ["feed"], registry=registry
        )
        self._in_flight = Gauge("listing_images_in_flight", "Photos released, unfinished", ["feed"], registry=registry)

    async def tick(self) -> int:
        """Release due photos of each feed, up to the capacity of its release window; return how many were released.

        Each release is recorded in MongoDB and published as `image-outdated`. If this scheduler does not hold the
        lease, the gauge of photos in flight is cleared and the result is 0. Raises StoreUnavailable if the database
        does not answer, and BrokerUnavailable if Kafka does not answer.
        """
        if not await self._lease.is_held():
            self._in_flight.clear()  # the scheduler that holds the lease shows this metric
            return 0
        now, released = self._clock(), 0
        for feed in self._feeds.values():
            try:
                released += await self._release(feed, now)
            except (StoreUnavailable, BrokerUnavailable):
                raise
            except Exception:
                _logger.exception("release-failed", feed=feed.name)  # the other feeds do not wait for this one
        return released

    async def record_throughputs(self, throughputs: Throughputs) -> None:
        """Write the measured throughput of each feed that has photos in flight to `throughputs`, for other services.

        The throughput of a feed without photos in flight stays as it was written last. Does nothing if this scheduler
        does not hold the lease. Raises StoreUnavailable.
        """
        if await self._lease.is_held():
            for feed, window in self._windows.items():
                if window.in_flight:
                    await throughputs.put(feed, Throughput(window.at, window.finished_per_second))

    async def _release(self, feed: Feed, now: datetime) -> int:
        window = self._windows[feed.name].observed(await self._listings.in_flight(feed.name, now), now, feed)
        self._windows[feed.name] = window
        self._in_flight.labels(feed.name).set(window.in_flight)
        capacity = window.capacity(feed)
        due = await self._most_urgent(feed.name, capacity, now) if capacity else []
        if not due:
            return 0
        await self._publisher.ping()  # without Kafka no photo gets a lease
        released = await self._write_leases(due, now)
        try:
            await self._publisher.publish(
                ImageOutdated.of(each.listing, photo) for each in released for photo in each.photos
            )
        except BrokerUnavailable:
            # With this write the photos are due at once, not only when their leases end. If a downloader got an event
            # all the same and has claimed the photo, the write is refused.
            await self._listings.write(each.listing.reverted() for each in released)
            raise
        ids = {photo.id for each in released for photo in each.photos}
        self._log([due_photo for due_photo in due if due_photo.photo.id in ids], now)
        self._windows[feed.name] = window.released(len(ids))
        self._released.labels(feed.name).inc(len(ids))
        return len(ids)

    async def _most_urgent(self, feed: str, limit: int, now: datetime) -> list[DuePhoto]:
        """Return at most `limit` due photos of a feed: a tenth of them the oldest, the others by priority and age.

        The tenth is chosen by age alone, so that no priority waits forever. A tenth of a small `limit` is less than one
        photo: such fractions are added up in memory from call to call, until they make one photo.
        """
        # Fractions add up over the ticks, to one photo or one tick's share at most, also without due photos.
        self._oldest_owed[feed] = min(
            self._oldest_owed[feed] + limit * _OLDEST_SHARE, max(1.0, limit * _OLDEST_SHARE)
        )  # fmt: skip
        chosen: dict[str, DuePhoto] = {}
        if by_age := int(self._oldest_owed[feed]):
            oldest = _due(await self._listings.oldest_due(feed, now, min(by_age, _MAX_LISTINGS)), now)
            chosen = {each.photo.id: each for each in sorted(oldest, key=_age)[:by_age]}
            self._oldest_owed[feed] -= len(chosen)
        urgent = _due(await self._listings.due(feed, now, min(limit, _MAX_LISTINGS)), now)
        for each in sorted(urgent, key=_urgency):
            if len(chosen) >= limit:
                break
            chosen[each.photo.id] = each
        return list(chosen.values())

    async def _write_leases(self, due: Sequence[DuePhoto], now: datetime) -> list[_ReleasedListing]:
        """Release the photos in `due` at `now` in MongoDB, in one write; return the listings that were written.

        The caller then publishes `image-outdated` for the photos in the result. A listing that another process has
        written since it was read is left out: its photos stay due, and a later tick releases them.
        """
        by_listing: dict[ListingId, _ReleasedListing] = {}
        for each in due:
            listing_id = (each.listing.feed, each.listing.key)
            released = by_listing.setdefault(listing_id, _ReleasedListing(each.listing, []))
            released.photos.append(lifecycle.release(each.photo, now))
        refused = await write_others(
            self._listings, [each.listing.with_photos(each.photos) for each in by_listing.values()]
        )
        return [released for listing_id, released in by_listing.items() if listing_id not in refused]

    def _log(self, released: Iterable[DuePhoto], now: datetime) -> None:
        for each in released:
            listing, photo = each.listing, each.photo
            fields = {"feed": listing.feed, "listing_key": listing.key, "image_id": photo.id}
            if photo.released_at is not None:
                # An event was lost or a worker died: rare, and otherwise only seen as a photo that comes late.
                self._expired.labels(listing.feed).inc()
                worker = photo.claim.worker if photo.claim else None
                _logger.warning("lease-expired", **fields, released_at=str(photo.released_at), worker=worker)
            _logger.info("image-released", **fields, correlation_id=photo.cause)
            tracing.record_span("wait", photo.cause, (now - photo.not_before).total_seconds(), **fields)


def _due(listings: Iterable[Listing], now: datetime) -> list[DuePhoto]:
    return [
        DuePhoto(listing, photo)
        for listing in listings
        for photo in listing.photos
        if (due_at := listing.photo_due_at(photo)) and due_at <= now
    ]


def _age(due: DuePhoto) -> tuple[datetime, int]:
    return due.photo.not_before, due.photo.order


def _urgency(due: DuePhoto) -> tuple[int, datetime, bool, str, int]:
    """Return the key by which due photos are sorted, the most urgent first.

    It compares priority, then due time, then whether the photo is the first of its listing, because search pages show
    first photos. ListingKey and order come last, so that photos of one listing stay together: they are released in one
    write.
    """
    is_first = due.photo is due.listing.photos[0]
    return due.photo.priority.rank, due.photo.not_before, not is_first, due.listing.key, due.photo.order
