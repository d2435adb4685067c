"""Finds the property records of an MLS that differ from the recorded listings, and publishes them as `listing-seen`."""

from collections.abc import Sequence

import orjson

from services.scheduler import decide
from services.scheduler.sweep_metrics import SweepMetrics
from shared import log
from shared.clock import Clock
from shared.domain import announcement
from shared.domain.announcement import Announcement, InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.events.listings import ListingSeen
from shared.events.topics import MAX_RECORD_BYTES
from shared.publisher import Publisher
from shared.reso.odata import PropertyRecord
from shared.stores.listings import ListingRecords

_logger = log.get(__name__)
_MAX_PROPERTY_BYTES = MAX_RECORD_BYTES * 0.9
"""The rest of MAX_RECORD_BYTES is for the event's envelope."""


class ChangeFilter:
    """Reads one feed's property records, finds those that differ from the recorded listings, and publishes them."""

    def __init__(
        self, feed: Feed, listings: ListingRecords, publisher: Publisher, metrics: SweepMetrics, clock: Clock
    ) -> None:
        self._feed = feed
        self._listings = listings
        self._publisher = publisher
        self._metrics = metrics
        self._clock = clock

    def read(self, records: Sequence[PropertyRecord]) -> list[Announcement]:
        """Return one announcement for each valid property record, read by the feed's rules, in the same order.

        A record that is invalid is left out, counted and logged. Nothing is fetched or written.
        """
        self._metrics.read.labels(self._feed.name).inc(len(records))
        announcements: list[Announcement] = []
        for record in records:
            try:
                announcements.append(announcement.read(self._feed, record))
            except InvalidPropertyRecord as error:
                self._count_unusable(record, str(error))
        return announcements

    async def changed_keys(self, announcements: Sequence[Announcement]) -> list[str]:
        """Return the ListingKeys of the announcements that differ from the recorded listings, in the given order.

        `decide.is_unrecorded` decides what counts as different. Raises StoreUnavailable.
        """
        recorded = await self._listings.recorded_states(
            [(listing.feed, listing.listing_key) for listing in announcements]
        )
        now = self._clock()
        return [
            listing.listing_key
            for listing in announcements
            if decide.is_unrecorded(listing, recorded.get((listing.feed, listing.listing_key)), now)
        ]

    async def publish(self, records: Sequence[PropertyRecord], why: str) -> None:
        """Publish property records as `listing-seen`, and return when Kafka has stored them.

        Two kinds of records are changed first. A record that hides a displayed listing gets timestamps by which it is
        not stale (`decide.as_current`). A record that shows its listing loses its timestamps if the MLS did not give
        its Media, so that the next sweep asks for the listing again (`decide.without_timestamps`).

        `why` is the label of the metric that counts the records: "changed" (found between two sweeps), "missing" (not
        on the market, but the MLS has a record), "news" (on the market, and differs from the records), "gone" (the MLS
        has no record) or "pushed" (the MLS pushed its key). A record that is too large for the topic is left out,
        counted and logged. If `records` is empty, nothing is published. Raises StoreUnavailable if the database does
        not answer, and BrokerUnavailable if Kafka does not answer.
        """
        events: list[ListingSeen] = []
        for record in await self._as_current([self._as_read(record) for record in records]):
            if len(orjson.dumps(record)) < _MAX_PROPERTY_BYTES:
                events.append(ListingSeen(feed=self._feed.name, record=record))
            else:
                self._count_unusable(record, f"it is over {MAX_RECORD_BYTES:,} bytes with its envelope")
        await self._publisher.publish(events)
        self._metrics.published.labels(self._feed.name, why).inc(len(events))

    def _as_read(self, record: PropertyRecord) -> PropertyRecord:
        """Return the record; if its Media was not read and it does not hide its listing, a copy without timestamps.

        `decide.without_timestamps` says why.
        """
        is_whole = record.get("Media") is not None or self._hiding(record)
        return record if is_whole else decide.without_timestamps(record)

    async def _as_current(self, records: Sequence[PropertyRecord]) -> Sequence[PropertyRecord]:
        """Return the records; a record that hides a displayed listing gets timestamps by which it is not stale.

        `decide.as_current` changes the record. Raises StoreUnavailable.
        """
        hiding = [announced for record in records if (announced := self._hiding(record))]
        if not hiding:
            return records
        recorded = await self._listings.recorded_states([(listing.feed, listing.listing_key) for listing in hiding])
        return [
            decide.as_current(record, announced, recorded.get((announced.feed, announced.listing_key)))
            if (announced := self._hiding(record))
            else record
            for record in records
        ]

    def _hiding(self, record: PropertyRecord) -> Announcement | None:
        """Return the announcement of a valid record that hides its listing; None for any other record."""
        try:
            announced = announcement.read(self._feed, record)
        except InvalidPropertyRecord:
            return None
        return announced if announced.hidden_by else None

    def _count_unusable(self, record: PropertyRecord, reason: str) -> None:
        self._metrics.unusable.labels(self._feed.name).inc()
        key = str(record.get("ListingKey"))[:200]
        _logger.warning("record-unusable", feed=self._feed.name, listing_key=key, reason=reason)
