"""What would a replay do? It asks the rules that the services ask, in order, on what earlier events would leave."""

import pickle
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

import orjson

from ops.replay import CARRIES, Filter, Source
from shared.domain import announcement, lifecycle, reconcile
from shared.domain.announcement import InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.domain.freshness import Position, Version, is_stale
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.events.codec import Undecodable, decode
from shared.events.images import ImageDownloaded, ImageOutdated, ImageRemoved, OutdatedReason
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.events.topics import LISTING_SEEN
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords

Result = TypeVar("Result")
_MOST_REASONS = 20
_MOST_PLAIN = 100_000
"""So many photos of changed listings are kept as they are, some 100 MB."""


@dataclass(slots=True)
class Plan:
    """What a replay would do. `downloads` are photos that become due, by feed; what is due already is not counted."""

    events: int = 0
    changing: int = 0
    unchanged: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    listings_hidden: int = 0
    listings_shown: int = 0
    photos_withdrawn: int = 0
    downloads: Counter[str] = field(default_factory=Counter)
    held: int = 0
    bytes_held: int = 0

    def bytes_expected(self, feed: str) -> int | None:
        """About how many bytes a feed's downloads bring, by the average of what is held. None: nothing known."""
        return round(self.bytes_held / self.held * self.downloads[feed]) if self.held else None

    def refuse(self, reason: str) -> None:
        """Count an event that would become a dead letter."""
        known = reason in self.unreadable or len(self.unreadable) < _MOST_REASONS
        self.unreadable[reason if known else "other reasons"] += 1

    def count(self, *, changes: bool) -> None:
        """Count an event that can be read."""
        self.changing += changes
        self.unchanged += not changes


async def plan(
    topic: str,
    source: Source,
    wanted: Filter,
    listings: ListingRecords,
    feeds: Mapping[str, Feed],
    now: datetime,
    tell: Callable[[int], object] = lambda _: None,
) -> Plan:
    """Say what publishing the events again would do, without doing it; `tell` hears how many were looked at.

    Raises BrokerUnavailable and StoreUnavailable.
    """
    carried, looked_at = CARRIES[topic], 0
    planner = _OfListings(listings, feeds, now) if topic == LISTING_SEEN else _OfImages(topic, listings, feeds, now)
    async for records in source.read(source.spans):
        meant = [record for record in records if wanted.covers(record, carried)]
        planner.plan.events += len(meant)
        await planner.take(meant)
        looked_at += len(records)
        tell(looked_at)
    return planner.plan


def _readable(records: Iterable[Record], read: Callable[[Record], Result], plan: Plan) -> Iterator[Result]:
    """Yield what can be read, and count the rest."""
    for record in records:
        try:
            yield read(record)
        except InvalidPropertyRecord as fault:
            plan.refuse(str(fault))


@dataclass(frozen=True, slots=True)
class _Said:
    """One event that can be read so far; `version` where its own fields name it."""

    one: ListingId
    feed: Feed
    record: Mapping[str, object]
    position: Position
    version: Version | None
    fingerprint: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is remembered of a listing: enough to tell an event that says nothing new without reading its photos."""

    version: Version
    fingerprint: int | None

    def is_nothing_new(self, said: _Said) -> bool:
        """Whether the event is the very statement that is recorded, or older."""
        if said.fingerprint == self.fingerprint:
            return True
        return said.version is not None and is_stale(replace(said.version, position=said.position), self.version)


class _Changed:
    """Listings as earlier events would leave them: the first as they are, the others, which may be many, compressed."""

    def __init__(self) -> None:
        self._plain: dict[ListingId, Listing] = {}
        self._packed: dict[ListingId, bytes] = {}
        self._photos = 0

    def __contains__(self, one: object) -> bool:
        return one in self._plain or one in self._packed

    def __setitem__(self, one: ListingId, listing: Listing) -> None:
        before = self._plain.pop(one, None)
        self._photos += len(listing.photos) - (len(before.photos) if before else 0)
        if self._photos <= _MOST_PLAIN and one not in self._packed:
            self._plain[one] = listing
        else:
            self._photos -= len(listing.photos)
            self._packed[one] = zlib.compress(pickle.dumps(listing), 1)

    def __getitem__(self, one: ListingId) -> Listing:
        if one in self._plain:
            return self._plain[one]
        return pickle.loads(zlib.decompress(self._packed[one]))  # type: ignore[no-any-return]  # noqa: S301 - our own


class _OfListings:
    """Replays `listing-seen`: each event meets the listing as the events before it would have left it."""

    def __init__(self, listings: ListingRecords, feeds: Mapping[str, Feed], now: datetime) -> None:
        self.plan = Plan()
        self._listings = listings
        self._feeds = feeds
        self._now = now
        self._seen: dict[ListingId, _Seen] = {}
        self._changed = _Changed()
        """A replay may change every listing; the others are read again when they are needed."""

    async def take(self, records: Sequence[Record]) -> None:
        """Fold a batch, with one read of the listings that it may change."""
        said = list(_readable(records, self._read, self.plan))
        open_ = [one for one in said if one.one not in self._seen or not self._seen[one.one].is_nothing_new(one)]
        ids = {one.one for one in open_}
        changed = {one for one in ids if one in self._changed}
        known = dict(await self._listings.get_many(ids - changed)) if ids else {}
        known |= {one: self._changed[one] for one in changed}
        self._measure(known.values())
        for one in said:
            self._fold(one, known)

    def _read(self, record: Record) -> _Said:
        event = decode(record.value, ListingSeen, record.at)
        if isinstance(event, Undecodable):
            raise InvalidPropertyRecord(event.reason)
        feed, said = self._feeds.get(event.data.feed), event.data.record
        if feed is None:
            raise InvalidPropertyRecord(f"the feed {event.data.feed[:100]!r} is not in feeds.toml")
        key, version = announcement.listing_key(said), announcement.read_version(said)
        fingerprint = hash(orjson.dumps(said))
        return _Said((feed.name, key), feed, said, record.position, version, fingerprint)

    def _fold(self, said: _Said, known: dict[ListingId, Listing]) -> None:
        before, seen = known.get(said.one), self._seen.get(said.one)
        if seen is None and before is not None:
            seen = self._seen[said.one] = _Seen(before.version, None)
        if seen is not None and seen.is_nothing_new(said):
            return self.plan.count(changes=False)
        try:
            announced = announcement.read(said.feed, said.record, said.position)
        except InvalidPropertyRecord as fault:
            return self.plan.refuse(str(fault))
        after = reconcile.apply(before, announced, said.feed, self._now)
        if after is not None:
            self._note(before, after)
            known[said.one] = after
            self._changed[said.one] = after
        if seen is None or not is_stale(announced.version, seen.version):
            self._seen[said.one] = _Seen(after.version if after else seen.version, said.fingerprint)  # type: ignore[union-attr]
        return self.plan.count(changes=after is not None)

    def _note(self, before: Listing | None, after: Listing) -> None:
        """Count what the change costs, as the difference of what is due before and after it."""
        was_shown = before is not None and before.is_displayed
        self.plan.listings_hidden += was_shown and not after.is_displayed
        self.plan.listings_shown += before is not None and not was_shown and after.is_displayed
        self.plan.photos_withdrawn += len(after.discards) - len(before.discards if before else ())
        self.plan.downloads[after.feed] += _due(after) - (_due(before) if before else 0)

    def _measure(self, listings: Iterable[Listing]) -> None:
        sizes = [photo.copy.file_size for one in listings for photo in one.photos if photo.copy]
        self.plan.held += len(sizes)
        self.plan.bytes_held += sum(sizes)


def _due(listing: Listing) -> int:
    return sum(listing.photo_due_at(photo) is not None for photo in listing.photos)


class _OfImages:
    """Replays of the other topics: an `image-outdated` may begin a download, news of images change no record."""

    def __init__(self, topic: str, listings: ListingRecords, feeds: Mapping[str, Feed], now: datetime) -> None:
        self.plan = Plan()
        self._carried = CARRIES[topic]
        self._listings = listings
        self._feeds = feeds
        self._now = now
        self._asked: set[str] = set()

    async def take(self, records: Sequence[Record]) -> None:
        """Look at a batch, with one read of the listings that it speaks of."""
        events = list(_readable(records, self._read, self.plan))
        asking = [event for event in events if isinstance(event[0], ImageOutdated)]
        known = await self._listings.get_many({(data.feed, data.listing_key) for data, _ in asking}) if asking else {}
        for data, at in events:
            begins = isinstance(data, ImageOutdated) and self._begins(
                known.get((data.feed, data.listing_key)), data, at
            )
            self.plan.count(changes=begins)

    def _read(self, record: Record) -> tuple[ImageOutdated | ImageDownloaded | ImageRemoved, datetime]:
        event = decode(record.value, self._carried, record.at)
        if isinstance(event, Undecodable):
            raise InvalidPropertyRecord(event.reason)
        if event.data.feed not in self._feeds:
            raise InvalidPropertyRecord(f"the feed {event.data.feed[:100]!r} is not in feeds.toml")
        return event.data, event.time  # type: ignore[return-value]

    def _begins(self, listing: Listing | None, asked: ImageOutdated, at: datetime) -> bool:
        photo = listing.photo(asked.image_id) if listing else None
        if (
            listing is None
            or photo is None
            or photo.id in self._asked
            or not begins(listing, photo, asked, at, self._now)
        ):
            return False
        self._asked.add(photo.id)
        self.plan.downloads[listing.feed] += 1
        if photo.copy:
            self.plan.held += 1
            self.plan.bytes_held += photo.copy.file_size
        return True


def begins(listing: Listing, photo: Photo, requested: ImageOutdated, at: datetime, now: datetime) -> bool:
    """Return True if an `image-outdated` event published at that time makes a downloader begin. Pure."""
    is_forced = requested.reason is OutdatedReason.FORCED
    photo = lifecycle.request(photo, requested.priority, at if is_forced else None)
    return lifecycle.can_claim(listing, photo, None, now)
