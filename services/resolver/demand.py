"""Demand: photos without a copy that visitors ask for. Their priority is raised after the answer was sent."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter

from services.resolver import decide
from services.resolver.decide import Raised
from shared import log
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.events.images import ImageOutdated
from shared.kafka import BrokerUnavailable
from shared.publisher import Publisher
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.listings import ListingRecords
from shared.stores.updates import OptimisticUpdate

_logger = log.get(__name__)
MAX_QUEUED_LISTINGS = 10_000
_ROUND_SECONDS = 0.1
_BATCH_SIZE = 50


class DemandQueue:
    """Queues, in memory, photos without a copy that visitors ask for, and raises their priority in MongoDB in rounds.

    `add` queues photos; a loop calls `run_round` again and again. The queue has one entry for each listing and
    priority, at most 10,000. When it is full, further entries are dropped and counted.
    """

    def __init__(
        self,
        listings: ListingRecords,
        publisher: Publisher,
        feeds: Mapping[str, Feed],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._publisher = publisher
        self._feeds = feeds
        self._clock = clock
        self._queued: dict[tuple[ListingId, Priority], set[str]] = {}
        """The image ids to raise, by listing and priority."""
        self._has_more = asyncio.Event()
        self._raised = Counter(
            "listing_images_priority_raised", "Photos raised in priority", ["priority"], registry=registry
        )
        self._dropped = Counter("listing_images_demand_dropped", "Listings whose demand was dropped", registry=registry)

    def add(self, listing_id: ListingId, image_ids: Collection[str], priority: Priority) -> None:
        """Queue photos of one listing, in memory, to be raised to `priority` in a later round.

        Photos of a feed that is not configured are ignored. If the queue is full, the photos are dropped, and the
        listing is counted in a metric.
        """
        if listing_id[0] not in self._feeds:
            return
        if (listing_id, priority) not in self._queued and len(self._queued) >= MAX_QUEUED_LISTINGS:
            self._dropped.inc()
            return
        self._queued.setdefault((listing_id, priority), set()).update(image_ids)
        self._has_more.set()

    async def raise_now(self, listing_id: ListingId, image_id: str) -> None:
        """Raise a photo that a visitor waits for to priority `viewed` in MongoDB at once, without the queue.

        The photo is also released if the rules allow that for a viewed photo. Does nothing if the photo's feed is not
        configured. Raises StoreUnavailable if MongoDB does not answer, Contention if others keep changing the listing,
        and BrokerUnavailable if the photo's release cannot be published.
        """
        if listing_id[0] in self._feeds:
            await self._raise({listing_id: {image_id}}, Priority.VIEWED)

    async def run_round(self) -> None:
        """Take up to 50 entries from the queue, the most urgent first, and raise their photos' priority in MongoDB.

        If nothing is queued, waits up to 0.1 s for an entry. Demand that cannot be written or published is dropped and
        counted, and no error is raised: visitors who still want the photos ask again within seconds.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_ROUND_SECONDS):
                await self._has_more.wait()
        first = sorted(self._queued, key=lambda queued: queued[1].rank)[:_BATCH_SIZE]
        batch = {queued: self._queued.pop(queued) for queued in first}
        if not self._queued:
            self._has_more.clear()
        try:
            for priority in dict.fromkeys(priority for _, priority in batch):
                await self._raise({listing: ids for (listing, to), ids in batch.items() if to is priority}, priority)
        except (StoreUnavailable, Contention, BrokerUnavailable) as error:
            self._dropped.inc(len(batch))
            _logger.warning("demand-dropped", listings=len(batch), error=str(error))

    async def _raise(self, image_ids: Mapping[ListingId, Collection[str]], priority: Priority) -> None:
        """Raise photos to `priority` in MongoDB, and publish `image-outdated` for the photos that this releases.

        `image_ids` holds, by listing (feed and ListingKey), the ids of the photos to raise. Photos that want no
        attempt, and listings that are not recorded, are left as they are. Raises StoreUnavailable if MongoDB does not
        answer, Contention if others keep changing a listing, and BrokerUnavailable if a release cannot be published.
        """
        attempts = OptimisticUpdate(self._listings, image_ids.keys())
        async for readings in attempts:
            now = self._clock()
            raised = {
                listing_id: change
                for listing_id, listing in readings.items()
                if (
                    change := decide.raise_photos(
                        listing, image_ids[listing_id], priority, self._feeds[listing.feed], now
                    )
                )
            }
            if any(change.released for change in raised.values()):
                await self._publisher.ping()  # no photo is marked as released while no event can be published
            written = await attempts.write(change.listing for change in raised.values())
            await self._publish([raised[listing.feed, listing.key] for listing in written], readings)
            self._raised.labels(priority).inc(len(written))

    async def _publish(self, raised: Sequence[Raised], readings: Mapping[ListingId, Listing]) -> None:
        """Publish `image-outdated` for the released photos of the listings in `raised`, which were just written.

        `readings` holds, by feed and ListingKey, each listing as it was before it was written. If Kafka cannot be
        reached, the listings with released photos are written back as they were; otherwise their photos would count as
        in flight. Then BrokerUnavailable is raised.
        """
        try:
            await self._publisher.publish(
                ImageOutdated.of(change.listing, photo) for change in raised for photo in change.released
            )
        except BrokerUnavailable:
            # Without the revert, they would count as in flight, and be due again only when their lease ends.
            unpublished = [readings[change.listing.feed, change.listing.key] for change in raised if change.released]
            await self._listings.write(listing.reverted() for listing in unpublished)
            raise
