"""Audits: compare records with stored objects, one page in each step. An audit can be interrupted between two steps.

First, the listings of each feed are compared, each with the objects whose keys begin with its prefix. Then, the keys of
both buckets are listed, to find objects of listings that are not recorded.
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

_LISTINGS_PAGE_SIZE = 20
_KEYS_PAGE_SIZE = 1_000
_MAX_COMPARISONS = 3
"""If a listing is written during each of this many comparisons, only the next audit compares it again."""
_READ_CONCURRENCY = 2
"""How many originals are in memory at a time. Each may be as large as a feed allows."""


@dataclass(frozen=True, slots=True)
class AuditCursor:
    """The place at which a step of an audit begins, in the listings of `feed` or in the keys of `bucket`.

    One of `feed` and `bucket` is None. The step begins after the ListingKey or object key `after`; "" stands for the
    start.
    """

    feed: str | None
    bucket: Bucket | None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of an audit compared and found.

    `listings` is how many listings were compared, `objects` how many objects were compared or listed. `findings` has
    each drift. `next` is the cursor of the next step, None after the last step.
    """

    listings: int
    objects: int
    findings: Sequence[Finding]
    next: AuditCursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditScope:
    """Which listings and objects an audit compares.

    `feeds` are the names of the feeds. One in `every` listings is compared. The share `read_share` of originals, from 0
    to 1, is read and compared with the recorded hash; `salt` decides which originals. If `with_buckets` is True, the
    keys of both buckets that begin with `key_prefix` are listed too, to find objects of listings that are not recorded.
    """

    feeds: Sequence[str]
    with_buckets: bool = True
    """True if both buckets are listed, to find objects of listings that are not recorded."""
    key_prefix: str = ""
    """Only the keys of a bucket that begin with this prefix are listed."""
    every: int = 1
    """One in this many listings is compared."""
    read_share: float = 1.0
    """The share of originals, from 0 to 1, whose bytes are read and compared with their hash."""
    salt: str = ""
    """Decides which originals are read if not all are; each salt selects other originals."""


class Walk:
    """An audit, as a walk through the listings and buckets of `scope`, one page in each step.

    The walk compares the records in the store `listings` with the stored `objects`. Another process can continue the
    walk at any cursor. `clock` returns the current time: an object without a record is an orphan only if it is a day
    old.
    """

    def __init__(self, listings: ListingRecords, objects: Objects, clock: Clock, scope: AuditScope) -> None:
        self._listings = listings
        self._objects = objects
        self._clock = clock
        self._scope = scope
        self._listings_passed = 0
        self._reading = asyncio.Semaphore(_READ_CONCURRENCY)
        self._sections = [AuditCursor(feed, None) for feed in scope.feeds]
        if scope.with_buckets:
            self._sections += [AuditCursor(None, bucket) for bucket in Bucket]

    @property
    def start(self) -> AuditCursor | None:
        """The cursor of the audit's first step; None if the scope has no feed and no bucket."""
        return self._sections[0] if self._sections else None

    async def step(self, cursor: AuditCursor) -> Step:
        """Compare a page of listings with their objects, or list a page of a bucket's keys; return what was found.

        The page begins at `cursor`. Nothing is changed. Raises StoreUnavailable.
        """
        if cursor.feed is not None:
            return await self._compare_listings(cursor, cursor.feed)
        assert cursor.bucket is not None  # noqa: S101 - a cursor has a feed or a bucket
        return await self._find_orphans(cursor, cursor.bucket)

    async def _compare_listings(self, cursor: AuditCursor, feed: str) -> Step:
        page = await self._listings.page(feed, cursor.after, _LISTINGS_PAGE_SIZE)
        chosen = [
            listing for number, listing in enumerate(page, self._listings_passed) if number % self._scope.every == 0
        ]
        self._listings_passed += len(page)
        compared = await asyncio.gather(*(self._compare(listing) for listing in chosen))
        is_full = len(page) == _LISTINGS_PAGE_SIZE
        return Step(
            listings=len(chosen),
            objects=sum(objects for objects, _ in compared),
            findings=[finding for _, findings in compared for finding in findings],
            next=AuditCursor(feed, None, page[-1].key) if is_full else self._section_after(cursor),
        )

    async def _compare(self, listing: Listing) -> tuple[int, Sequence[Finding]]:
        """Compare a listing with its stored objects; return how many objects are stored, and a finding for each drift.

        If a drift is found, but the listing was written during the comparison, the drift may be wrong: the listing is
        read again and compared again. If it is written during each of three comparisons, no finding is returned. Raises
        StoreUnavailable.
        """
        prefix, stored = keys.listing_prefix(listing.feed, listing.key), 0
        for _ in range(_MAX_COMPARISONS):
            public, originals = await asyncio.gather(
                self._list(Bucket.PUBLIC, prefix), self._list(Bucket.ORIGINALS, prefix)
            )
            stored = len(public) + len(originals)
            findings = audit.find_drift(listing, public, originals, self._clock())
            findings += await self._wrong_hashes(listing, {finding.key for finding in findings})
            current = await self._listings.get(listing.feed, listing.key) if findings else listing
            if current is None or current.revision == listing.revision:
                return stored, findings
            listing = current
        return stored, ()

    async def _list(self, bucket: Bucket, prefix: str) -> list[StoredObject]:
        """Return all objects of a bucket whose keys begin with `prefix`, read page by page. Raises StoreUnavailable."""
        found: list[StoredObject] = []
        while page := await self._objects.page(bucket, prefix, found[-1].key if found else "", _KEYS_PAGE_SIZE):
            found += page
            if len(page) < _KEYS_PAGE_SIZE:
                break
        return found

    async def _wrong_hashes(self, listing: Listing, drifted_keys: set[str]) -> list[Finding]:
        """Read the originals of a listing's sampled photos; return a finding for each that has not the recorded hash.

        `read_share` and `salt` of the scope decide which photos are sampled. Originals in `drifted_keys` are not read:
        they have a finding already. An original that was deleted meanwhile gets no finding. Empty if all hashes are as
        recorded. Raises StoreUnavailable.
        """
        found: list[Finding] = []
        read_share, salt = self._scope.read_share, self._scope.salt
        for photo in listing.photos:
            copy = photo.copy
            if copy is None or copy.original_key in drifted_keys or not audit.is_sampled(photo, read_share, salt):
                continue
            async with self._reading:
                content = await self._objects.get(Bucket.ORIGINALS, copy.original_key)
                is_wrong = content is not None and await asyncio.to_thread(_sha256, content) != copy.sha256
            if is_wrong:
                drift = Finding(Drift.WRONG_HASH, copy.original_key, True, listing.feed, listing.key, photo.id)
                found.append(drift)
        return found

    async def _find_orphans(self, cursor: AuditCursor, bucket: Bucket) -> Step:
        """List the page of the keys of `bucket` that begins at `cursor`; return a step with the orphans as findings.

        An object is an orphan here if its listing is not recorded; the orphans of recorded listings are found by
        `_compare`. Keys that name no listing are only counted. Raises StoreUnavailable.
        """
        page = await self._objects.page(bucket, self._scope.key_prefix, cursor.after, _KEYS_PAGE_SIZE)
        by_listing: dict[ListingId, list[StoredObject]] = defaultdict(list)
        for stored in page:
            if listing_id := keys.listing_id_of(stored.key):
                by_listing[listing_id].append(stored)
        recorded = await self._listings.get_many(by_listing)
        now = self._clock()
        findings = [
            Finding(Drift.ORPHAN, stored.key, bucket is Bucket.ORIGINALS, *listing_id)
            for listing_id, objects in by_listing.items()
            if listing_id not in recorded
            for stored in objects
            if audit.is_orphan(stored, now)
        ]
        is_full = len(page) == _KEYS_PAGE_SIZE
        following = AuditCursor(None, bucket, page[-1].key) if is_full else self._section_after(cursor)
        return Step(listings=0, objects=len(page), findings=findings, next=following)

    def _section_after(self, cursor: AuditCursor) -> AuditCursor | None:
        """Return the cursor at the start of the next section of the audit, after the section in which `cursor` is.

        A section is a feed or a bucket. Return None if `cursor` is in the last section, or in a section that the scope
        of the audit does not have.
        """
        sections = iter(self._sections)
        for section in sections:
            if (section.feed, section.bucket) == (cursor.feed, cursor.bucket):
                break
        return next(sections, None)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
