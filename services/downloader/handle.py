"""Handles the records of `image-outdated`: reads their events, and passes these to the handler of their feed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry

from services.downloader import decide
from services.downloader.announcements import Announcements
from services.downloader.attempting import Attempter, DownloadPhoto
from services.downloader.claiming import Claimer
from services.downloader.feed_handler import FeedHandler
from services.downloader.fresh_urls import FreshUrls, UrlSource
from services.downloader.in_flight import InFlight
from services.downloader.refreshing import RefreshingClaimer
from services.downloader.reporting import Reporter
from services.downloader.retrying import all_done
from services.downloader.settling import Settler
from shared import log
from shared.clock import Clock
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.events.codec import Event, Undecodable, decode
from shared.events.images import ImageOutdated
from shared.events.records import Record
from shared.origin_budget.budget import OriginBudget
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.attempts import Attempts
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords
from shared.stores.updates import update

_ROUTINE_CONCURRENCY = 3
"""How many groups of a feed's photos are handled at a time: one downloads, one encodes, one waits for the budget."""
_VIEWED_CONCURRENCY = 20
_MAX_RESUMED = 100

_logger = log.get(__name__)

RequestedByFeed = dict[str, dict[ListingId, list[Event[ImageOutdated]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerParts:
    """The objects and settings that a Handler works with.

    `download` makes the attempt of one photo. `ping_storage` raises StoreUnavailable if object storage does not answer.
    `feeds` are all feeds by name. `url_source` gets a feed, and True for viewed photos or False for others. It returns
    the source from which the URLs of these photos are read anew, or None if they are not read anew. `superseded_for` is
    how long a superseded copy stays public. `worker` is this worker's name, which stays the same over restarts.
    """

    listings: ListingRecords
    attempts: Attempts
    publisher: Publisher
    renderer: Renderer
    dead_letters: DeadLetters
    budget: OriginBudget
    download: DownloadPhoto
    ping_storage: Callable[[], Awaitable[None]]
    feeds: Mapping[str, Feed]
    superseded_for: timedelta
    worker: str
    clock: Clock
    registry: CollectorRegistry
    url_source: Callable[[Feed, bool], UrlSource | None] = lambda _, __: None


class Handler:
    """Handles the batches of both subscriptions of this process. A photo that both request is downloaded only once."""

    def __init__(self, parts: HandlerParts) -> None:
        self._parts = parts
        self._in_flight = InFlight()
        self._attempter = Attempter(parts.download, parts.ping_storage, parts.budget, parts.clock, parts.registry)
        self._settler = Settler(parts.listings, parts.superseded_for, parts.clock)
        self.announcements = Announcements(parts.listings, parts.publisher, parts.renderer.url, parts.clock)
        self._reporter = Reporter(
            parts.publisher, self.announcements, parts.attempts, parts.renderer.url, parts.clock, parts.registry
        )
        self._routine = {name: self._feed_handler(feed, is_viewed=False) for name, feed in parts.feeds.items()}
        self._viewed = {name: self._feed_handler(feed, is_viewed=True) for name, feed in parts.feeds.items()}

    def _feed_handler(self, feed: Feed, *, is_viewed: bool) -> FeedHandler:
        parts = self._parts
        claimer = Claimer(
            feed, parts.listings, parts.budget, self._in_flight, parts.worker, parts.clock, is_viewed=is_viewed
        )
        source = parts.url_source(feed, is_viewed)
        refreshing = RefreshingClaimer(feed, claimer, FreshUrls(source), parts.budget, parts.clock) if source else None
        concurrency = _VIEWED_CONCURRENCY if is_viewed else _ROUTINE_CONCURRENCY
        return FeedHandler(
            feed, parts.listings, refreshing or claimer, self._attempter, self._settler, self._reporter, concurrency
        )

    async def handle(self, records: Sequence[Record]) -> None:
        """Download the photos that a batch of `image-outdated` requests, and return when all of them are handled.

        At the return, each photo is settled, deferred or found to need no attempt, and records that cannot be read are
        dead letters. Raises StoreUnavailable if the database or object storage does not answer, Contention if other
        processes keep changing a listing, and BrokerUnavailable if Kafka does not answer. The caller may then handle
        the same batch again.
        """
        await self._handle(records, self._routine)

    async def handle_viewed(self, records: Sequence[Record]) -> None:
        """Download the photos that a batch of `image-outdated.viewed` requests, as `handle` does.

        These photos have queues of their own, because visitors wait for them.
        """
        await self._handle(records, self._viewed)

    async def _handle(self, records: Sequence[Record], handlers: Mapping[str, FeedHandler]) -> None:
        await self._attempter.check_storage()
        requested, unreadable = self._read(records)
        await all_done(handlers[feed].handle(events) for feed, events in requested.items())
        for record, reason in unreadable:
            await self._parts.dead_letters.put(record, reason)
            _logger.warning("dead-letter", topic=record.topic, offset=record.offset, reason=reason)

    def _read(self, records: Sequence[Record]) -> tuple[RequestedByFeed, list[tuple[Record, str]]]:
        """Return the events of the records by feed and listing, and the unreadable records, each with the reason."""
        requested: RequestedByFeed = {}
        unreadable: list[tuple[Record, str]] = []
        for record in records:
            event = decode(record.value, ImageOutdated, record.at)
            if isinstance(event, Undecodable):
                unreadable.append((record, event.reason))
            elif event.data.feed not in self._parts.feeds:
                unreadable.append((record, f"the feed {event.data.feed[:100]!r} is not in feeds.toml"))
            else:
                listing_id = event.data.feed, event.data.listing_key
                requested.setdefault(event.data.feed, {}).setdefault(listing_id, []).append(event)
        return requested, unreadable

    async def resume(self) -> None:
        """Defer the photos that an earlier run of this worker claimed and did not settle, so that they are due at once.

        Without this call the photos would wait until their claims expire, because their events may have gone to another
        worker. One call handles at most 100 listings. Raises StoreUnavailable if the database does not answer, and
        Contention if other processes keep changing a listing.
        """
        parts = self._parts
        claimed = await parts.listings.claimed_by(parts.worker, _MAX_RESUMED)
        await update(parts.listings, [(listing.feed, listing.key) for listing in claimed], self._without_abandoned)

    def _without_abandoned(self, listing: Listing) -> Listing | None:
        """Return the listing with each photo deferred that an earlier run of this worker claimed and did not settle.

        Return None if there is no such photo.
        """
        photos = decide.abandoned(listing, self._parts.worker, self._in_flight.image_ids(), self._parts.clock())
        return listing.with_photos(photos) if photos else None

    def drain(self) -> None:
        """Let this process start no more downloads, before it ends. Running downloads go on.

        Photos that wait for the budget are deferred.
        """
        self._parts.budget.close()

    def cut_off(self) -> None:
        """End the running downloads, and send no more requests to origins.

        The photos of these downloads are deferred, and due at once.
        """
        self._attempter.cut_off()
