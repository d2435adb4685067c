"""Which of an MLS's records say something new? Tells them from what is recorded, publishes them, and counts."""

from collections.abc import Sequence
from functools import partial

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.scheduler import decide
from services.scheduler.odata import Record
from shared import log
from shared.domain import announcement
from shared.domain.announcement import Announcement, ImpossibleRecord
from shared.domain.feed import Feed
from shared.events.listings import ListingSeen
from shared.events.topics import MAX_RECORD_BYTES
from shared.publisher import Publisher
from shared.stores.listings import ListingRecords

_logger = log.get(__name__)


class Metrics:
    """What the sweeps of all feeds count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, by_feed = partial(Counter, registry=registry), ["feed"]
        self.sweeps = counter("listing_images_sweeps", "Sweeps that ended, by how", ["feed", "result"])
        self.read = counter("listing_images_sweep_read", "Listings read from the MLS", by_feed)
        self.published = counter("listing_images_sweep_published", "Listings published, by why", ["feed", "why"])
        self.rechecked = counter("listing_images_sweep_rechecked", "Copies made due to be asked for again", by_feed)
        self.unusable = counter("listing_images_sweep_unusable", "Records that cannot be understood or sent", by_feed)
        self.errors = counter("listing_images_sweep_errors", "Failures to read the MLS, by kind", ["feed", "kind"])
        self.succeeded_at = Gauge(
            "listing_images_sweep_success_timestamp_seconds",
            "End of the last whole sweep, or the start",
            by_feed,
            registry=registry,
        )


class News:
    """What one feed's MLS says that is not recorded."""

    def __init__(self, feed: Feed, listings: ListingRecords, publisher: Publisher, metrics: Metrics) -> None:
        self._feed = feed
        self._listings = listings
        self._publisher = publisher
        self._metrics = metrics

    def understood(self, records: Sequence[Record]) -> list[Announcement]:
        """Read the records by the feed's rules; one that cannot be understood is left out, and counted."""
        self._metrics.read.labels(self._feed.name).inc(len(records))
        said: list[Announcement] = []
        for record in records:
            try:
                said.append(announcement.read(self._feed, record))
            except ImpossibleRecord as fault:
                self._unusable(record, str(fault))
        return said

    async def among(self, said: Sequence[Announcement]) -> list[str]:
        """Return the keys of those that are news. Raises StoreUnavailable."""
        recorded = await self._listings.recorded([(one.feed, one.listing_key) for one in said])
        return [one.listing_key for one in said if decide.is_news(one, recorded.get((one.feed, one.listing_key)))]

    async def publish(self, records: Sequence[Record], why: str) -> None:
        """Publish listings and wait until the broker has them. Raises BrokerUnavailable."""
        sent: list[ListingSeen] = []
        for record in records:
            if len(orjson.dumps(record)) < MAX_RECORD_BYTES * 0.9:
                sent.append(ListingSeen(feed=self._feed.name, record=record))
            else:
                self._unusable(record, f"it is over {MAX_RECORD_BYTES:,} bytes with its envelope")
        await self._publisher.publish(sent)
        self._metrics.published.labels(self._feed.name, why).inc(len(sent))

    def _unusable(self, record: Record, reason: str) -> None:
        self._metrics.unusable.labels(self._feed.name).inc()
        key = str(record.get("ListingKey"))[:200]
        _logger.warning("record-unusable", feed=self._feed.name, listing_key=key, reason=reason)
