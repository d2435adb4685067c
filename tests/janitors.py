"""A janitor's removal sweep on stores in memory, with a clock that tests move, and processes that die or stall."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeAlias, cast

import orjson
from prometheus_client import CollectorRegistry

from services.janitor.evidence import RemovalReports
from services.janitor.guard import Guard
from services.janitor.photo_objects import PhotoObjects
from services.janitor.removal import Remover
from shared.domain.image import Photo
from shared.domain.listing import Listing, copy_keys
from shared.kafka import Broker, Outgoing
from shared.lease import Lease
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.memory import MemoryLeases, MemoryListings, MemoryObjects, MemoryRemovalHolds, MemoryRemovals
from shared.stores.objects import Bucket
from tests.builders import (
    FEED,
    KEY,
    NOW,
    a_copy,
    a_downloaded_photo,
    a_feed,
    a_listing,
    a_record,
    a_row,
    announced,
    hidden,
)

RENDERER = Renderer("https://cdn.example.com")
PHOTOS = 3
"""Photos of `a_hidden_listing`."""

Wrap: TypeAlias = Callable[[object], Any]
"""Takes a store or the broker, and returns it as one process sees it."""


class Died(Exception):
    """Raised at the call of a store at which a process ends, and at each of its calls after that."""


class Mortality:
    """Ends a process at its `calls`-th call of any wrapped store, before or after that call is carried out."""

    def __init__(self, calls: int, *, after: bool = False) -> None:
        self.calls_left = calls
        self._after = after

    def wrap(self, store: object) -> Any:
        """Return the store as the mortal process sees it: calls are counted, and raise Died from the last one on."""
        return _MortalStore(store, self)

    def is_last_call(self) -> bool:
        """Count a call, and return True if it is the process's last one. Raises Died if the process ended before it."""
        self.calls_left -= 1
        if self.calls_left < 0:
            raise Died
        return self.calls_left == 0

    async def carry_out(self, call: Callable[[], Awaitable[object]]) -> object:
        """Carry out a call and return its result.

        Raises Died if the process ends before or at this call, or has ended.
        """
        is_last = self.is_last_call()
        if is_last and not self._after:
            raise Died
        result = await call()
        if is_last:
            raise Died
        return result


class _MortalStore:
    def __init__(self, store: object, mortality: Mortality) -> None:
        self._store = store
        self._mortality = mortality

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        call = cast("Callable[..., Awaitable[object]]", getattr(self._store, name))

        @wraps(call)
        async def mortal(*args: object, **named: object) -> object:
            return await self._mortality.carry_out(lambda: call(*args, **named))

        return mortal


class Stall:
    """Makes a process stand still once, before or after its first call of `method` of `store`.

    While it stands still, `meanwhile` is run: what others do.
    """

    def __init__(self, store: object, method: str, meanwhile: Callable[[], Awaitable[None]], *, after: bool) -> None:
        self._store, self._method, self._after = store, method, after
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile
        self._turn = asyncio.Lock()

    def wrap(self, store: object) -> Any:
        """Return the store as the stalling process sees it; any store but the one that stalls is returned as it is."""
        return _StallingStore(store, self) if store is self._store else store

    async def carry_out(self, name: str, call: Callable[[], Awaitable[object]]) -> object:
        """Carry out a call of the method `name` and return its result. If it is the first of `method`, stall too."""
        async with self._turn:
            result = await call() if self._after else None
            if name == self._method and self._meanwhile:
                meanwhile, self._meanwhile = self._meanwhile, None
                await meanwhile()
        return result if self._after else await call()


class _StallingStore:
    def __init__(self, store: object, stall: Stall) -> None:
        self._store = store
        self._stall = stall

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)
        return lambda *args: self._stall.carry_out(name, lambda: call(*args))


class PublishedEvents:
    """A broker that keeps the data of published events in `events`, oldest first."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def publish(self, records: Iterable[Outgoing]) -> None:
        self.events += [orjson.loads(record.value or b"")["data"] for record in records]


class LockedObjects(MemoryObjects):
    """Buckets that refuse to delete the keys in `locked`."""

    def __init__(self) -> None:
        super().__init__()
        self.locked: set[str] = set()

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        await super().delete(bucket, [key for key in keys if key not in self.locked])
        return [key for key in keys if key in self.locked]


@dataclass
class World:
    """Everything that outlives a janitor, in memory: stores, buckets, published events, and the time."""

    now: datetime = NOW
    listings: MemoryListings = field(default_factory=lambda: MemoryListings(RENDERER))
    objects: LockedObjects = field(default_factory=LockedObjects)
    removals: MemoryRemovals = field(default_factory=MemoryRemovals)
    removal_holds: MemoryRemovalHolds = field(default_factory=MemoryRemovalHolds)
    leases: MemoryLeases = field(default_factory=MemoryLeases)
    broker: PublishedEvents = field(default_factory=PublishedEvents)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def a_janitor(self, wrap: Wrap = lambda store: store, name: str = "w", **rules: Any) -> Remover:
        """Return the removal sweep of a new process, for the feed FEED with these rules.

        `wrap` makes of a store or the broker what the process sees. A process of the same `name` is the same worker,
        started again.
        """
        self.registry = CollectorRegistry()
        feeds = {FEED: a_feed(**rules)}
        guard = Guard(wrap(self.listings), wrap(self.removal_holds), feeds, self.clock, self.registry)
        lease = Lease(self.leases, "removal", name, self.clock, lambda: self.clock().timestamp())
        publisher = Publisher(cast("Broker", wrap(self.broker)), "", "janitor", self.clock)
        reports = RemovalReports(wrap(self.removals), publisher, RENDERER, self.registry)
        objects = PhotoObjects(wrap(self.objects))
        return Remover(wrap(self.listings), objects, reports, guard, lease, self.clock, self.registry)

    def clock(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def record(self, *listings: Listing) -> None:
        """Write the listings to the store in memory, and put the objects of their copies into the buckets."""
        assert not await self.listings.write(listings)
        for listing in listings:
            for photo in listing.photos:
                if photo.copy:
                    self.store_objects(*copy_keys(photo.copy))

    def store_objects(self, *keys: str) -> None:
        for key in keys:
            bucket = Bucket.ORIGINALS if "/original." in key else Bucket.PUBLIC
            self.objects.contents[bucket][key] = b"x"

    @property
    def keys(self) -> set[str]:
        return {key for bucket in Bucket for key in self.objects.contents[bucket]}

    async def listing(self, key: str = KEY) -> Listing:
        found = await self.listings.get(FEED, key)
        assert found
        return found

    async def evidence(self, key: str = KEY) -> list[tuple[str, str]]:
        """Return the image id and the reason of each recorded removal of a listing's images, sorted."""
        return sorted((removal.image_id, removal.reason) for removal in await self.removals.of_listing(FEED, key))

    async def removed_count(self, *listings: Listing) -> int:
        """Return how many of the listings have no recorded photo any more."""
        return sum([not (await self.listing(listing.key)).photos for listing in listings])

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"listing_images_{name}", labels)

    async def announce(self, key: str, **fields: Any) -> Listing:
        """Record an announcement of a listing with photos a, b and c, a minute after NOW, and return the listing.

        `fields` are fields of the property record. Fail if the announcement changes nothing.
        """
        record = a_record(*(a_row(name) for name in "abc"), key=key, at=60, **fields)
        listing = announced(record, await self.listing(key), now=self.now)
        assert listing
        assert not await self.listings.write([listing])
        return listing

    async def download(self) -> None:
        """Give every due photo of the listing KEY that has none a copy, as a downloader would."""
        listing = await self.listing()
        due = [photo for photo in listing.photos if listing.photo_due_at(photo) and photo.copy is None]
        for photo in due:
            self.store_objects(*copy_keys(a_copy(photo.object_id)))
        assert not await self.listings.write(
            [listing.with_photos(replace(photo, copy=a_copy(photo.object_id), announced_at=NOW) for photo in due)]
        )


def photos(key: str = KEY, count: int = PHOTOS) -> list[Photo]:
    return [a_downloaded_photo(name, key=key) for name in "abcdefgh"[:count]]


def a_hidden_listing(key: str = KEY, **facts: Any) -> Listing:
    """Return a listing with `PHOTOS` downloaded photos that is hidden, and whose removal is due at NOW."""
    return a_listing(*photos(key), key=key, **{"hidden": hidden(since=-9, remove_at=-4), **facts})


def burst(size: int, since: float = -6, **facts: Any) -> list[Listing]:
    """Return `size` listings that turned hidden together at `since`, in seconds after NOW.

    Their removal is due 5 s after that; `facts` are other arguments of `hidden`.
    """
    hidden_together = hidden(since=since, remove_at=since + 5, **facts)
    keys = [f"H{since}-{number}" for number in range(size)]
    return [a_listing(a_downloaded_photo("a", key=key), key=key, hidden=hidden_together) for key in keys]
