"""Plans a replay: asks the rules of the services what publishing the events again would change, and changes nothing.

Each event is applied to its listing as the events before it would leave the listing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import orjson

from ops.replay import EVENT_TYPES, Replay
from shared.domain import announcement, lifecycle, reconcile
from shared.domain.announcement import InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.domain.freshness import Position, Version, is_stale
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.events.codec import AnyEvent, Data, Event, Undecodable, decode
from shared.events.images import ImageOutdated, OutdatedReason
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.events.topics import LISTING_SEEN
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords

Result = TypeVar("Result")
MAX_CHANGED_LISTINGS = 10_000
"""How many changed listings a round of a plan keeps in memory: they take 0.2 to 0.5 GB at 25 photos each."""
_MAX_REASONS = 20


@dataclass(slots=True)
class ReplayPlan:
    """Counts what a replay would change; the methods add to the counts."""

    events: int = 0
    changing: int = 0
    """Events that change a record or begin a download."""
    unchanged: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    """Events that would become dead letters, by reason."""
    listings_hidden: int = 0
    listings_shown: int = 0
    photos_withdrawn: int = 0
    downloads: Counter[str] = field(default_factory=Counter)
    """Photos that become due, by the feed's name; photos that are due already are not counted."""
    held: int = 0
    """Copies whose sizes are known, from which `bytes_expected` takes the average."""
    bytes_held: int = 0

    def bytes_expected(self, feed: str) -> int | None:
        """Return about how many bytes all planned downloads of `feed` receive together.

        That is the number of downloads times the average size of the copies that were counted, of all feeds. The result
        is None if no copy was counted.
        """
        return round(self.bytes_held / self.held * self.downloads[feed]) if self.held else None

    def count_unreadable(self, reason: str) -> None:
        """Count an event that would become a dead letter, under its reason.

        The first twenty reasons have counts of their own; all other reasons are counted together as `other reasons`.
        """
        is_named = reason in self.unreadable or len(self.unreadable) < _MAX_REASONS
        self.unreadable[reason if is_named else "other reasons"] += 1

    def count(self, *, changes: bool) -> None:
        """Count a readable event, either in `changing` or in `unchanged`.

        `changes` is True if the event changes a listing's record or begins a download; it is then counted in
        `changing`.
        """
        self.changing += changes
        self.unchanged += not changes

    def count_copies(self, photos: Iterable[Photo]) -> None:
        """Count the copies of these photos and the copies' bytes, from which `bytes_expected` takes the average."""
        sizes = [photo.copy.file_size for photo in photos if photo.copy]
        self.held += len(sizes)
        self.bytes_held += sum(sizes)


def to_json(plan: ReplayPlan, costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plan as `replay --dry-run --json` prints it. Pure.

    `costs` has the cost of each feed's downloads, by the feed's name. The plan's fields are listed one by one, because
    `dataclasses.asdict` of Python 3.11 breaks the keys of a Counter.
    """
    return {
        "events": plan.events,
        "changing": plan.changing,
        "unchanged": plan.unchanged,
        "unreadable": dict(plan.unreadable),
        "listings_hidden": plan.listings_hidden,
        "listings_shown": plan.listings_shown,
        "photos_withdrawn": plan.photos_withdrawn,
        "downloads": costs,
        "held": plan.held,
        "bytes_held": plan.bytes_held,
    }


async def plan(
    replay: Replay,
    listings: ListingRecords,
    feeds: Mapping[str, Feed],
    now: datetime,
    on_progress: Callable[[int], object] = lambda _: None,
) -> ReplayPlan:
    """Return what publishing the events of a replay again would change, without publishing or writing anything.

    The plan is made in rounds, and each round reads all events. A round keeps the listings that it changed in memory.
    After MAX_CHANGED_LISTINGS of them it skips events with record keys that it has not met yet, and a later round plans
    these events. `now` is the time at which the events would be read again. `on_progress` is called after each batch
    with the number of records planned so far. Raises BrokerUnavailable if Kafka does not answer, and StoreUnavailable
    if MongoDB does not.
    """
    result, planned_keys, planned, is_complete = ReplayPlan(), set[bytes | None](), 0, False
    while not is_complete:
        planner = _planner(replay.topic, listings, feeds, now, result)
        keys, is_complete = set[bytes | None](), True
        async for records in replay.source.read(replay.source.ranges):
            remaining = [record for record in records if record.key not in planned_keys]
            if not planner.is_full:
                keys.update(record.key for record in remaining)
            batch = [record for record in remaining if record.key in keys]
            is_complete = is_complete and len(batch) == len(remaining)
            selected = [record for record in batch if replay.selects(record)]
            result.events += len(selected)
            await planner.add(selected)
            planned += len(batch)
            on_progress(planned)
        planned_keys |= keys
    return result


def _planner(
    topic: str, listings: ListingRecords, feeds: Mapping[str, Feed], now: datetime, result: ReplayPlan
) -> "_ListingPlanner | _ImagePlanner":
    if topic == LISTING_SEEN:
        return _ListingPlanner(listings, feeds, now, result)
    return _ImagePlanner(EVENT_TYPES[topic], listings, feeds, now, result)


def _read_all(records: Iterable[Record], read: Callable[[Record], Result], result: ReplayPlan) -> Iterator[Result]:
    """Yield the event of each record that can be read; count the other records in `result` as unreadable.

    `read` takes a record and returns its event. If the record cannot be read, `read` raises InvalidPropertyRecord with
    the reason under which the record is counted.
    """
    for record in records:
        try:
            yield read(record)
        except InvalidPropertyRecord as error:
            result.count_unreadable(str(error))


def _decoded(record: Record, event_type: type[Data], feeds: Mapping[str, Feed]) -> Event[Data]:
    """Return the event in a record's value.

    Raises InvalidPropertyRecord if the value cannot be decoded, or the event's feed is not in `feeds`.
    """
    event = decode(record.value, event_type, record.at)
    if isinstance(event, Undecodable):
        raise InvalidPropertyRecord(event.reason)
    if event.data.feed not in feeds:
        raise InvalidPropertyRecord(f"the feed {event.data.feed[:100]!r} is not in feeds.toml")
    return event


@dataclass(frozen=True, slots=True)
class _SeenEvent:
    """A `listing-seen` event whose photos are not read yet.

    `version` is the version of the announcement, None if it depends on the photos. `position` is the record's first
    position on its topic. `fingerprint` is a hash of the property record: equal property records have equal hashes.
    """

    listing_id: ListingId
    feed: Feed
    property_record: Mapping[str, object]
    position: Position
    version: Version | None
    fingerprint: int


@dataclass(frozen=True, slots=True)
class _Latest:
    """Names the newest announcement of a listing that a plan knows so far, by its version and fingerprint.

    `fingerprint` is the hash of the announcement's property record. It is None if the announcement was read from
    MongoDB only, because a listing's document does not keep the property record.
    """

    version: Version
    fingerprint: int | None

    def includes(self, event: _SeenEvent, now: datetime) -> bool:
        """Return True if the event has this announcement or an older one, so that the event changes nothing.

        False means that the event is newer, or that only its photos tell whether it is.
        """
        if event.fingerprint == self.fingerprint:
            return True
        if event.version is None:
            return False
        version = replace(event.version, position=event.position)
        return is_stale(version, self.version, now, hides=True)  # the record may hide its listing


class _ListingPlanner:
    """Plans the `listing-seen` events of one round, and adds what they would change to `result`."""

    def __init__(self, listings: ListingRecords, feeds: Mapping[str, Feed], now: datetime, result: ReplayPlan) -> None:
        self._listings = listings
        self._feeds = feeds
        self._now = now
        self._result = result
        self._latest: dict[ListingId, _Latest] = {}
        """The newest announcement of each listing. Most events that change nothing are known by it, without a read."""
        self._changed: dict[ListingId, Listing] = {}

    @property
    def is_full(self) -> bool:
        """True if MAX_CHANGED_LISTINGS are kept in memory, so that this round must not plan further listings."""
        return len(self._changed) >= MAX_CHANGED_LISTINGS

    async def add(self, records: Sequence[Record]) -> None:
        """Add a batch of records to the plan, in their order; those that cannot be read are counted as unreadable.

        Reads in one query the listings that the events may change. Raises StoreUnavailable.
        """
        events = list(_read_all(records, self._read, self._result))
        ids = {event.listing_id for event in events if not self._is_known(event)}
        changed = {listing_id: self._changed[listing_id] for listing_id in ids if listing_id in self._changed}
        recorded = dict(await self._listings.get_many(ids - changed.keys())) if ids else {}
        recorded |= changed
        self._result.count_copies(photo for listing in recorded.values() for photo in listing.photos)
        for event in events:
            self._add(event, recorded)

    def _is_known(self, event: _SeenEvent) -> bool:
        latest = self._latest.get(event.listing_id)
        return latest is not None and latest.includes(event, self._now)

    def _read(self, record: Record) -> _SeenEvent:
        data = _decoded(record, ListingSeen, self._feeds).data
        listing_id = data.feed, announcement.listing_key(data.record)
        feed = self._feeds[data.feed]
        version, fingerprint = announcement.read_version(feed, data.record), hash(orjson.dumps(data.record))
        return _SeenEvent(listing_id, feed, data.record, record.position, version, fingerprint)

    def _add(self, event: _SeenEvent, recorded: dict[ListingId, Listing]) -> None:
        """Apply an event to its listing in `recorded`, and count in the plan what that changes.

        `recorded` has the listings as the earlier events would leave them. It lacks listings that are not recorded, and
        listings that need not be read. The changed listing is put into `recorded`. An event whose photos cannot be read
        is counted as unreadable.
        """
        listing_id, before = event.listing_id, recorded.get(event.listing_id)
        if before is not None:
            self._latest.setdefault(listing_id, _Latest(before.version, None))
        if self._is_known(event):
            return self._result.count(changes=False)
        try:
            announced = announcement.read(event.feed, event.property_record, event.position)
        except InvalidPropertyRecord as error:
            return self._result.count_unreadable(str(error))
        after = reconcile.apply(before, announced, event.feed, self._now)
        if after is not None:
            recorded[listing_id] = self._changed[listing_id] = after
            self._latest[listing_id] = _Latest(after.version, event.fingerprint)
            self._count_effects(before, after)
        elif not is_stale(announced.version, self._latest[listing_id].version, self._now):
            self._latest[listing_id] = replace(self._latest[listing_id], fingerprint=event.fingerprint)
        return self._result.count(changes=after is not None)

    def _count_effects(self, before: Listing | None, after: Listing) -> None:
        """Count in the plan the effects of a change of one listing from `before` to `after`.

        The effects are: the listing is hidden or shown again, photos are withdrawn, and photos become due. `before` is
        None if the listing was not recorded.
        """
        was_shown = before is not None and before.is_displayed
        self._result.listings_hidden += was_shown and not after.is_displayed
        self._result.listings_shown += before is not None and not was_shown and after.is_displayed
        self._result.photos_withdrawn += len(after.discards) - len(before.discards if before else ())
        self._result.downloads[after.feed] += _photos_due(after) - (_photos_due(before) if before else 0)


def _photos_due(listing: Listing) -> int:
    return sum(listing.photo_due_at(photo) is not None for photo in listing.photos)


class _ImagePlanner:
    """Plans the events of a topic other than `listing-seen`, and adds the downloads that they would begin to `result`.

    Only an `image-outdated` can begin a download. Other events change nothing.
    """

    is_full = False

    def __init__(
        self,
        event_type: type[AnyEvent],
        listings: ListingRecords,
        feeds: Mapping[str, Feed],
        now: datetime,
        result: ReplayPlan,
    ) -> None:
        self._event_type = event_type
        self._listings = listings
        self._feeds = feeds
        self._now = now
        self._result = result
        self._begun: set[str] = set()
        """The ids of the images whose downloads are counted."""

    async def add(self, records: Sequence[Record]) -> None:
        """Add a batch of records to the plan; those that cannot be read are counted as unreadable.

        Reads in one query the listings of the images that an `image-outdated` asks for. Raises StoreUnavailable.
        """
        events = list(_read_all(records, self._read, self._result))
        ids = {(event.data.feed, event.data.listing_key) for event in events if isinstance(event.data, ImageOutdated)}
        recorded = await self._listings.get_many(ids) if ids else {}
        for event in events:
            data = event.data
            begins = isinstance(data, ImageOutdated) and self._begins(
                recorded.get((data.feed, data.listing_key)), data, event.time
            )
            self._result.count(changes=begins)

    def _read(self, record: Record) -> Event[AnyEvent]:
        return _decoded(record, self._event_type, self._feeds)

    def _begins(self, listing: Listing | None, requested: ImageOutdated, at: datetime) -> bool:
        """Return True if an `image-outdated` begins a download that is not counted yet, and count the download.

        `requested` is the event's content, `at` the time when it was published. `listing` is the image's listing, or
        None if the listing is not recorded; the result is then False.
        """
        photo = listing.photo(requested.image_id) if listing else None
        if listing is None or photo is None or photo.id in self._begun:
            return False
        if not begins_download(listing, photo, requested, at, self._now):
            return False
        self._begun.add(photo.id)
        self._result.downloads[listing.feed] += 1
        self._result.count_copies([photo])
        return True


def begins_download(listing: Listing, photo: Photo, requested: ImageOutdated, at: datetime, now: datetime) -> bool:
    """Return True if a downloader would claim `photo`, one of `listing`, on reading an `image-outdated`. Pure.

    `requested` is the event's content, `at` the time when it was published, `now` the time when it would be read again.
    False if there is nothing to download for the photo at `now`, for example because it is claimed.
    """
    is_forced = requested.reason is OutdatedReason.FORCED
    photo = lifecycle.request(photo, requested.priority, at if is_forced else None)
    return lifecycle.can_claim(listing, photo, None, now)
