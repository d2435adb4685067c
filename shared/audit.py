"""Walks records and objects side by side, a page a step; it can stop anywhere, and lists no bucket as a whole.

First each feed's listings, each with what is stored below its prefix; then the keys of both buckets, for objects of
listings that no record knows of.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from shared.clock import Clock
from shared.domain import audit, keys
from shared.domain.audit import Drift, Finding, StoredObject
from shared.domain.listing import Listing
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords
from shared.stores.objects import Bucket, Objects

_LISTINGS = 20
_KEYS = 1_000
_MOST_LOOKS = 3
_READ_AT_ONCE = 2
"""Originals in memory at a time: each may be as large as a feed allows."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk is: in a feed's listings, or among a bucket's keys, after the one given."""

    feed: str | None
    bucket: Bucket | None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a walk looked at and found, and where the next begins; None at the end."""

    listings: int
    objects: int
    findings: Sequence[Finding]
    next: Place | None


class Walk:
    """A walk through some feeds' listings and, if wanted, the keys of both buckets `below` a prefix.

    `every` takes each n-th listing; `read` is the share of originals whose bytes are compared with their hash, and
    `salt` chooses which.
    """

    def __init__(
        self,
        listings: ListingRecords,
        objects: Objects,
        clock: Clock,
        feeds: Sequence[str],
        *,
        below: str = "",
        every: int = 1,
        buckets: bool = True,
        read: float = 1.0,
        salt: str = "",
    ) -> None:
        self._listings = listings
        self._objects = objects
        self._clock = clock
        self._below = below
        self._every = every
        self._read = read
        self._salt = salt
        self._passed = 0
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)
        self._places = [Place(feed, None) for feed in feeds]
        if buckets:
            self._places += [Place(None, bucket) for bucket in Bucket]

    @property
    def begin(self) -> Place | None:
        """Where it begins."""
        return self._places[0] if self._places else None

    async def step(self, place: Place) -> Step:
        """Look at the next page from here on. Raises StoreUnavailable."""
        if place.feed is not None:
            return await self._listings_after(place, place.feed)
        assert place.bucket is not None  # noqa: S101 - a place is one or the other
        return await self._keys_after(place, place.bucket)

    async def _listings_after(self, place: Place, feed: str) -> Step:
        page = await self._listings.page(feed, place.after, _LISTINGS)
        chosen = [one for number, one in enumerate(page, self._passed) if number % self._every == 0]
        self._passed += len(page)
        looked = await asyncio.gather(*(self._look(listing) for listing in chosen))
        findings = [finding for _, found in looked for finding in found]
        after = Place(feed, None, page[-1].key) if len(page) == _LISTINGS else self._place_after(place)
        return Step(len(chosen), sum(objects for objects, _ in looked), findings, after)

    async def _look(self, listing: Listing) -> tuple[int, Sequence[Finding]]:
        """Compare one listing with its objects; one that changed meanwhile is looked at again."""
        prefix, seen = keys.listing_prefix(listing.feed, listing.key), 0
        for _ in range(_MOST_LOOKS):
            public, originals = await asyncio.gather(
                self._all(Bucket.PUBLIC, prefix), self._all(Bucket.ORIGINALS, prefix)
            )
            seen = len(public) + len(originals)
            findings = audit.find_drift(listing, public, originals, self._clock())
            findings += await self._wrong_hashes(listing, {one.key for one in findings})
            again = await self._listings.get(listing.feed, listing.key) if findings else listing
            if again is None or again.revision == listing.revision:
                return seen, findings
            listing = again
        return seen, ()

    async def _all(self, bucket: Bucket, prefix: str) -> list[StoredObject]:
        held: list[StoredObject] = []
        while page := await self._objects.page(bucket, prefix, held[-1].key if held else "", _KEYS):
            held += page
            if len(page) < _KEYS:
                break
        return held

    async def _wrong_hashes(self, listing: Listing, known: set[str]) -> list[Finding]:
        """Read originals one after the other, those that nothing is known against."""
        found: list[Finding] = []
        for photo in listing.photos:
            copy = photo.copy
            if copy is None or copy.original_key in known or not audit.is_sampled(photo, self._read, self._salt):
                continue
            async with self._reading:
                content = await self._objects.get(Bucket.ORIGINALS, copy.original_key)
                is_wrong = content is not None and await asyncio.to_thread(_sha256, content) != copy.sha256
            if is_wrong:
                drift = Finding(Drift.WRONG_HASH, copy.original_key, True, listing.feed, listing.key, photo.id)
                found.append(drift)
        return found

    async def _keys_after(self, place: Place, bucket: Bucket) -> Step:
        page = await self._objects.page(bucket, self._below, place.after, _KEYS)
        by_listing: dict[ListingId, list[StoredObject]] = defaultdict(list)
        for held in page:
            if one := keys.listing_id_of(held.key):
                by_listing[one].append(held)
        recorded = await self._listings.get_many(by_listing)
        now = self._clock()
        findings = [
            Finding(Drift.ORPHAN, held.key, bucket is Bucket.ORIGINALS, *one)
            for one, below in by_listing.items()
            if one not in recorded
            for held in below
            if audit.is_orphan(held, now)
        ]
        after = Place(None, bucket, page[-1].key) if len(page) == _KEYS else self._place_after(place)
        return Step(0, len(page), findings, after)

    def _place_after(self, place: Place) -> Place | None:
        """Return what comes after a feed or a bucket that was walked; a feed that is no more counts as the last."""
        rest = iter(self._places)
        for one in rest:
            if (one.feed, one.bucket) == (place.feed, place.bucket):
                break
        return next(rest, None)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
