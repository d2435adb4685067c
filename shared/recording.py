"""Records announced listings. Scheduler and janitor both read `listing-seen`; the service that reads an event first
writes the listing, and the event is stale for the other. Stale announcements change nothing.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from shared import log, tracing
from shared.clock import Clock
from shared.dead_letters import DeadLetters
from shared.domain import announcement, reconcile
from shared.domain.announcement import Announcement, InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.domain.freshness import Version, is_stale
from shared.domain.listing import Listing
from shared.events.codec import Undecodable, decode
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords
from shared.stores.updates import OptimisticUpdate

_logger = log.get(__name__)
_MAX_EVENT_ID_CHARACTERS = 100
_MAX_NAMED_WORDS = 1_000
_WORD = re.compile(r"[\w .,()&+-]{1,60}")
"""A word that may be logged: it has no URL of the MLS, and no control character."""


@dataclass(frozen=True, slots=True)
class _PropertyRecord:
    """The property record of one `listing-seen` event, whose `Media` rows are not read yet.

    `source` is the Kafka record of the event, `fields` are the fields of the property record. `version` is None if it
    can be found only by reading the `Media` rows.
    """

    source: Record
    feed: Feed
    fields: Mapping[str, Any]
    event_id: str
    version: Version | None
    """None if the version can be found only by reading the `Media` rows."""

    def is_surely_stale(self, recorded: Version, now: datetime) -> bool:
        """Return True if the property record is certainly stale beside the listing's recorded version `recorded`.

        The `Media` rows are not read. False if the record is not stale, or if only `reconcile.apply`, which gets the
        rows, can tell. `now` is the current time.
        """
        # `hides`: the result must hold for a record that hides its listing too.
        return self.version is not None and is_stale(self.version, recorded, now, hides=True)

    def read(self) -> Announcement:
        """Return the announcement that the property record makes, read by the feed's rules.

        Raises InvalidPropertyRecord if the record cannot be understood.
        """
        return announcement.read(self.feed, self.fields, self.source.position, self.event_id)


class Recorder:
    """Handles batches of `listing-seen`: writes the announced listings to MongoDB, and counts the outcomes.

    `listings` is the store to which listings are written, `feeds` has the feeds by name, and `clock` returns the
    current time. Records that cannot be understood are copied to `dead_letters`. `registry` gets the metrics that count
    the outcomes.
    """

    def __init__(
        self,
        listings: ListingRecords,
        feeds: Mapping[str, Feed],
        dead_letters: DeadLetters,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._feeds = feeds
        self._dead_letters = dead_letters
        self._clock = clock
        self._outcomes = Counter(
            "listing_images_announcements", "Listings announced, by outcome", ["outcome"], registry=registry
        )
        self._unknown_words = Counter(
            "listing_images_unknown_words",
            "Announcements with a category, status or flag that no rule knows",
            ["feed", "field"],
            registry=registry,
        )
        self._named_words: set[tuple[str, str, str]] = set()

    async def record(self, records: Sequence[Record]) -> None:
        """Write the listings that a batch of `listing-seen` changes; copy invalid records to the topic `dead-letter`.

        If a batch is handled again, it changes no listing. If no other process writes the same listings, a batch takes
        two reads and one write.

        Raises StoreUnavailable if MongoDB does not answer, Contention if other processes keep writing the same listing,
        ListingsUnwritable if a listing is too large for MongoDB, and BrokerUnavailable if Kafka does not answer. After
        each of these errors, some listings may be written.
        """
        seen, invalid = self._decode(records)
        recorded = await self._listings.recorded_states(list(seen)) if seen else {}
        announcements: dict[ListingId, list[Announcement]] = {}
        now = self._clock()
        for listing_id, property_records in seen.items():
            last = recorded.get(listing_id)
            for property_record in property_records:
                # Two services read each event. The second one finds the version recorded, and reads no `Media` rows.
                if last and property_record.is_surely_stale(last.version, now):
                    continue
                try:
                    announced = property_record.read()
                except InvalidPropertyRecord as error:
                    invalid.append((property_record.source, str(error)))
                else:
                    announcements.setdefault(listing_id, []).append(announced)
                    self._name_unknown_words(announced)
        written = await self._write(announcements, recorded.keys())
        # Dead letters come last: if a store fails and the batch is tried again, no dead letter is published twice.
        await self._put_dead_letters(invalid)
        self._outcomes.labels("written").inc(written)
        self._outcomes.labels("unchanged").inc(len(seen) - written)
        self._outcomes.labels("dead").inc(len(invalid))

    def _decode(
        self, records: Sequence[Record]
    ) -> tuple[Mapping[ListingId, Sequence[_PropertyRecord]], list[tuple[Record, str]]]:
        """Decode a batch of `listing-seen`; return a pair: the property records by listing, and the invalid records.

        The property records of a listing are in the order of the batch; their `Media` rows are not read yet. Each
        invalid record comes with the reason, a text for the dead letter.
        """
        seen: dict[ListingId, list[_PropertyRecord]] = {}
        invalid: list[tuple[Record, str]] = []
        for record in records:
            event = decode(record.value, ListingSeen, record.at)
            if isinstance(event, Undecodable):
                invalid.append((record, event.reason))
            elif (feed := self._feeds.get(event.data.feed)) is None:
                invalid.append((record, f"the feed {event.data.feed[:100]!r} is not in feeds.toml"))
            else:
                fields, event_id = event.data.record, event.id[:_MAX_EVENT_ID_CHARACTERS]
                try:
                    listing_id = feed.name, announcement.listing_key(fields)
                    version = announcement.read_version(feed, fields, record.position)
                except InvalidPropertyRecord as error:
                    invalid.append((record, str(error)))
                else:
                    seen.setdefault(listing_id, []).append(_PropertyRecord(record, feed, fields, event_id, version))
        return seen, invalid

    async def _write(
        self, announcements: Mapping[ListingId, Sequence[Announcement]], recorded: Collection[ListingId]
    ) -> int:
        """Write the listings that announcements change; return how many listings were written.

        `announcements` has, by listing, the announcements of a batch in their order. `recorded` has the ids of the
        listings that MongoDB is known to have. Any other listing is first treated as new, and is read only if its write
        is refused. Raises StoreUnavailable if MongoDB does not answer, Contention if other processes keep writing the
        same listing, and ListingsUnwritable if a listing is too large for MongoDB.
        """
        read = [listing_id for listing_id in announcements if listing_id in recorded]
        current = await self._listings.get_many(read) if read else {}
        written = 0
        attempts = OptimisticUpdate(self._listings, announcements.keys(), current)
        async for readings in attempts:
            changed = [self._apply(readings.get(listing_id), announcements[listing_id]) for listing_id in attempts.ids]
            for listing in await attempts.write(listing for listing in changed if listing):
                written += 1
                _report(listing, announcements[listing.feed, listing.key][-1])
        return written

    def _apply(self, before: Listing | None, announcements: Iterable[Announcement]) -> Listing | None:
        """Return a listing as its announcements change it, applied in the given order; None if none changes it.

        `before` is the listing as it was read, None if it is not recorded. Nothing is written.
        """
        now, listing = self._clock(), before
        for announced in announcements:
            listing = reconcile.apply(listing, announced, self._feeds[announced.feed], now) or listing
        return None if listing is before else listing

    def _name_unknown_words(self, announced: Announcement) -> None:
        """Count an announcement's unknown words, and log each word that this process has not logged yet.

        An unknown word is a category, status or flag that no rule knows.
        """
        for unknown in announced.unknown_words:
            self._unknown_words.labels(announced.feed, unknown.field).inc()
            word = unknown.word if _WORD.fullmatch(unknown.word) else "(no word)"
            named = (announced.feed, unknown.field, word)
            if named not in self._named_words and len(self._named_words) < _MAX_NAMED_WORDS:
                self._named_words.add(named)
                _logger.warning(
                    "word-unknown",
                    feed=announced.feed,
                    field=unknown.field,
                    word=word,
                    listing_key=announced.listing_key,
                )

    async def _put_dead_letters(self, invalid: Iterable[tuple[Record, str]]) -> None:
        for record, reason in invalid:
            await self._dead_letters.put(record, reason)
            _logger.warning("dead-letter", topic=record.topic, offset=record.offset, reason=reason)


def _report(listing: Listing, last: Announcement) -> None:
    """Log that a listing was written, and record a span in the trace of `last`, the listing's newest announcement."""
    _logger.info(
        "listing-recorded",
        feed=listing.feed,
        listing_key=listing.key,
        correlation_id=last.event_id,
        displayed=listing.is_displayed,
        photos=len(listing.photos),
    )
    tracing.record_span("record", last.event_id, 0.0, feed=listing.feed, listing_key=listing.key)
