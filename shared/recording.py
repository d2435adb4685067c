"""Writes down what the MLS says of a listing: whoever hears it first, scheduler or janitor. Old events change none."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
_LONGEST_ID = 100


@dataclass(frozen=True, slots=True)
class _Statement:
    """An event whose rows are yet to be read; `version` is None where it takes them to know it."""

    source: Record
    feed: Feed
    record: Mapping[str, Any]
    event_id: str
    version: Version | None


class Recorder:
    """Records batches of `listing-seen`."""

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
            "listing_images_announcements", "Listings heard of, by what came of it", ["outcome"], registry=registry
        )

    async def record(self, records: Sequence[Record]) -> None:
        """Record a batch in two reads and one write; what cannot be understood goes to the dead letters.

        Raises StoreUnavailable, Contention and BrokerUnavailable; the same batch again does no harm.
        """
        heard: dict[ListingId, list[_Statement]] = {}
        dead: list[tuple[Record, str]] = []
        for record in records:
            try:
                one, statement = self._understood(record)
                heard.setdefault(one, []).append(statement)
            except InvalidPropertyRecord as fault:
                dead.append((record, str(fault)))
        news, known = await self._news(heard)
        said: dict[ListingId, list[Announcement]] = {}
        for one, statements in news.items():
            for statement in statements:
                try:
                    said.setdefault(one, []).append(_read(statement))
                except InvalidPropertyRecord as fault:
                    dead.append((statement.source, str(fault)))
        written = await self._write(said, known)
        # Last, so that a batch that is tried again because a store was away leaves no second dead letter.
        for record, reason in dead:
            await self._dead_letters.put(record, reason)
            _logger.warning("dead-letter", topic=record.topic, offset=record.offset, reason=reason)
        self._outcomes.labels("written").inc(written)
        self._outcomes.labels("unchanged").inc(len(heard) - written)
        self._outcomes.labels("dead").inc(len(dead))

    def _understood(self, source: Record) -> tuple[ListingId, _Statement]:
        event = decode(source.value, ListingSeen, source.at)
        if isinstance(event, Undecodable):
            raise InvalidPropertyRecord(event.reason)
        feed, record = self._feeds.get(event.data.feed), event.data.record
        if feed is None:
            raise InvalidPropertyRecord(f"the feed {event.data.feed[:100]!r} is not in feeds.toml")
        key, version = announcement.listing_key(record), announcement.read_version(record, source.position)
        return (feed.name, key), _Statement(source, feed, record, event.id[:_LONGEST_ID], version)

    async def _news(
        self, heard: Mapping[ListingId, Sequence[_Statement]]
    ) -> tuple[Mapping[ListingId, Sequence[_Statement]], Collection[ListingId]]:
        """Return what is not recorded yet, and which of those listings are known.

        Two services hear each event: the later of both tells it from the listing's timestamps, and reads no rows.
        """
        recorded = await self._listings.recorded(list(heard)) if heard else {}
        news = {
            one: [
                statement
                for statement in statements
                if statement.version is None
                or (known := recorded.get(one)) is None
                or not is_stale(statement.version, known.version)
            ]
            for one, statements in heard.items()
        }
        return {one: statements for one, statements in news.items() if statements}, recorded.keys()

    async def _write(self, said: Mapping[ListingId, Sequence[Announcement]], known: Collection[ListingId]) -> int:
        """Write the listings that the announcements change; return how many. Raises StoreUnavailable and Contention."""
        read = [one for one in said if one in known]
        attempts = OptimisticUpdate(self._listings, said.keys(), await self._listings.get_many(read) if read else {})
        written = 0
        async for readings in attempts:
            changed = [self._after(readings.get(one), said[one]) for one in attempts.ids]
            for listing in await attempts.write(after for after in changed if after):
                written += 1
                _report(listing, said[listing.feed, listing.key][-1])
        return written

    def _after(self, listing: Listing | None, said: Iterable[Announcement]) -> Listing | None:
        """Return the listing after all statements, or None where none changes it."""
        now, before = self._clock(), listing
        for one in said:
            listing = reconcile.apply(listing, one, self._feeds[one.feed], now) or listing
        return None if listing is before else listing


def _read(statement: _Statement) -> Announcement:
    return announcement.read(statement.feed, statement.record, statement.source.position, statement.event_id)


def _report(listing: Listing, said: Announcement) -> None:
    _logger.info(
        "listing-recorded",
        feed=listing.feed,
        listing_key=listing.key,
        correlation_id=said.event_id,
        displayed=listing.is_displayed,
        photos=len(listing.photos),
    )
    tracing.record_span("record", said.event_id, 0.0, feed=listing.feed, listing_key=listing.key)
