"""Raises the priority of what people ask for, once an image and not once a view, behind the answer."""

import asyncio
from collections import OrderedDict
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
_LONGEST_QUEUE = 10_000
_ROUND_SECONDS = 0.1
_AT_ONCE = 50


class Demand:
    """What is asked for and not there. The queue is bounded: under a flood it drops, and counts what it dropped."""

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
        self._asked: OrderedDict[tuple[ListingId, Priority], set[str]] = OrderedDict()
        self._more = asyncio.Event()
        self._raised = Counter(
            "listing_images_priority_raised", "Photos raised in priority", ["priority"], registry=registry
        )
        self._dropped = Counter("listing_images_demand_dropped", "Listings whose demand was dropped", registry=registry)

    def ask(self, one: ListingId, images: Collection[str], to: Priority) -> None:
        """Note that images of a listing were asked for; returns at once."""
        if one[0] not in self._feeds:
            return
        if (one, to) not in self._asked and len(self._asked) >= _LONGEST_QUEUE:
            self._dropped.inc()
            return
        self._asked.setdefault((one, to), set()).update(images)
        self._more.set()

    async def now(self, one: ListingId, image_id: str) -> None:
        """Raise an image that a person waits for. Raises StoreUnavailable, Contention and BrokerUnavailable."""
        if one[0] in self._feeds:
            await self._raise({one: {image_id}}, Priority.VIEWED)

    async def work(self) -> None:
        """Raise what was asked for, most urgent first; one round, which waits a while for something to do."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ROUND_SECONDS):
                await self._more.wait()
        taken = sorted(self._asked, key=lambda asked: asked[1].rank)[:_AT_ONCE]
        wanted = {asked: self._asked.pop(asked) for asked in taken}
        if not self._asked:
            self._more.clear()
        try:
            for priority in dict.fromkeys(priority for _, priority in wanted):
                await self._raise({one: images for (one, to), images in wanted.items() if to is priority}, priority)
        except (StoreUnavailable, Contention, BrokerUnavailable) as fault:
            # Whoever still wants them asks again within seconds.
            self._dropped.inc(len(wanted))
            _logger.warning("demand-dropped", listings=len(wanted), error=str(fault))

    async def _raise(self, wanted: Mapping[ListingId, Collection[str]], to: Priority) -> None:
        attempts = OptimisticUpdate(self._listings, wanted.keys())
        async for known in attempts:
            now = self._clock()
            raised = {
                one: more
                for one, listing in known.items()
                if (more := decide.raise_photos(listing, wanted[one], to, self._feeds[listing.feed], now))
            }
            if any(more.released for more in raised.values()):
                await self._publisher.ping()  # nothing is marked that could not be said
            written = await attempts.write(more.listing for more in raised.values())
            await self._say([raised[listing.feed, listing.key] for listing in written], known)
            self._raised.labels(to).inc(len(written))

    async def _say(self, raised: Sequence[Raised], known: Mapping[ListingId, Listing]) -> None:
        try:
            await self._publisher.publish(
                ImageOutdated.of(more.listing, photo) for more in raised for photo in more.released
            )
        except BrokerUnavailable:
            # As they were, so that the next view raises them, and not only once their lease ends.
            unsaid = [known[more.listing.feed, more.listing.key] for more in raised if more.released]
            await self._listings.write(one.reverted() for one in unsaid)
            raise
