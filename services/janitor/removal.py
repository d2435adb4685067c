"""Removes what must no longer be held: objects of both buckets, then evidence, then the event, then the record.

A round takes many listings through each step together. Every step can be repeated: a janitor that dies in between is
followed by one that does it again.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.janitor import decide
from services.janitor.guard import Guard
from shared import log
from shared.clock import Clock
from shared.domain import keys, lifecycle
from shared.domain.freshness import to_millisecond
from shared.domain.listing import Discard, Listing
from shared.events.images import ImageRemoved
from shared.lease import Lease
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.objects import Bucket, Objects
from shared.stores.removal_queue import RemovalQueue
from shared.stores.removals import Removal, Removals
from shared.stores.updates import OptimisticUpdate

_AT_ONCE = 25
"""Listings a round: some thousand images at most MLSs, which is what one multi-delete takes."""

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Gone:
    """A discard whose objects are deleted, but for those that storage refused to delete."""

    listing: Listing
    discard: Discard
    remained: Sequence[str]

    @property
    def objects(self) -> int:
        """How many objects there were."""
        return len(self.discard.public_keys) + len(self.discard.original_keys)


class Remover:
    """The loop of the one janitor that holds the lease."""

    def __init__(
        self,
        listings: RemovalQueue,
        objects: Objects,
        removals: Removals,
        guard: Guard,
        lease: Lease,
        publisher: Publisher,
        renderer: Renderer,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._objects = objects
        self._removals = removals
        self._guard = guard
        self._lease = lease
        self._publisher = publisher
        self._renderer = renderer
        self._clock = clock
        self._removed = Counter("listing_images_removed", "Images removed, by reason", ["reason"], registry=registry)
        self._refused = Counter(
            "listing_images_removal_refused", "Objects that storage refused to delete", registry=registry
        )
        self._late = Gauge(
            "listing_images_removal_late_seconds", "How long the oldest removal has been due", registry=registry
        )

    async def sweep(self) -> int:
        """Remove what is due; return how many listings it was due of. Raises StoreUnavailable, BrokerUnavailable."""
        swept = 0
        while await self._lease.is_held():
            await self._guard.look()
            now = self._clock()
            due = await self._listings.removal_due(now, _AT_ONCE)
            oldest = due[0].removal_due_at if due else None
            self._late.set((now - oldest).total_seconds() if oldest else 0)
            if not due:
                break
            await self._remove(await self._guard.let_through(due))
            swept += len(due)
        else:
            self._late.set(0)
            self._guard.forget()
        return swept

    async def _remove(self, listings: Sequence[Listing]) -> None:
        """See one round through. A listing that changed meanwhile is left for the next, which decides again."""
        now = self._clock()
        begun = await asyncio.gather(*(self._with_found(lifecycle.begin_removal(listing, now)) for listing in listings))
        if not await self._lease.is_held():
            return
        refused = await self._listings.write(begun)
        leaving = [replace(one, revision=one.revision + 1) for one in begun if (one.feed, one.key) not in refused]
        if not self._lease.runs_on:
            return  # another may have taken over and removed all this: the next round looks again
        gone = await self._delete(leaving)
        held = [one for one in gone if one.objects]  # of the others there was nothing to remove
        now = self._clock()
        await self._removals.add([_evidence(one, now) for one in held])
        await self._publisher.publish(self._event(one, now) for one in held if not one.remained)
        try:
            await self._finish(leaving, gone)
        except Contention as error:
            _logger.warning("removal-contended", error=str(error))  # the next round repeats the removal
        self._report(held)

    async def _with_found(self, listing: Listing) -> Listing:
        """Look for objects that no record knows of, so that nothing of a photo stays; written down before they go."""
        wholes = [discard for discard in listing.removing if discard.whole]
        if not wholes:
            return listing
        prefixes = {one: keys.photo_prefix(listing.feed, listing.key, one.object_id) for one in wholes}
        if listing.photos or len(wholes) == 1:
            below: Collection[str] = prefixes.values()
        else:
            below = [keys.listing_prefix(listing.feed, listing.key)]
        public, originals = await asyncio.gather(
            self._by_photo(Bucket.PUBLIC, below), self._by_photo(Bucket.ORIGINALS, below)
        )
        found = {
            one: lifecycle.add_objects(one, public.get(prefix, ()), originals.get(prefix, ()))
            for one, prefix in prefixes.items()
        }
        return replace(listing, discards=tuple(found.get(discard, discard) for discard in listing.discards))

    async def _by_photo(self, bucket: Bucket, prefixes: Iterable[str]) -> dict[str, list[str]]:
        """List what is below the prefixes, by the photo that it belongs to."""
        found: dict[str, list[str]] = defaultdict(list)
        for listed in await asyncio.gather(*(self._objects.list(bucket, prefix) for prefix in prefixes)):
            for key in listed:
                found[key[: _photo_end(key)]].append(key)
        return found

    async def _delete(self, listings: Sequence[Listing]) -> list[Gone]:
        """Delete what all of the listings discard, in one go for each bucket."""
        leaving = [(listing, discard) for listing in listings for discard in listing.removing]
        refused = await asyncio.gather(
            self._objects.delete(Bucket.PUBLIC, [key for _, one in leaving for key in one.public_keys]),
            self._objects.delete(Bucket.ORIGINALS, [key for _, one in leaving for key in one.original_keys]),
        )
        public, originals = map(set, refused)
        return [
            Gone(listing, one, [*public.intersection(one.public_keys), *originals.intersection(one.original_keys)])
            for listing, one in leaving
        ]

    def _event(self, gone: Gone, now: datetime) -> ImageRemoved:
        return ImageRemoved(
            feed=gone.listing.feed,
            listing_key=gone.listing.key,
            image_id=gone.discard.image_id,
            reason=gone.discard.reason,
            removed_at=now,
            urls=tuple(self._renderer.url(key) for key in gone.discard.public_keys),
        )

    async def _finish(self, listings: Sequence[Listing], gone: Sequence[Gone]) -> None:
        """Take what is gone off the record. Raises StoreUnavailable and Contention."""
        done: dict[ListingId, set[Discard]] = defaultdict(set)
        remained: dict[ListingId, set[Discard]] = defaultdict(set)
        for one in gone:
            (remained if one.remained else done)[one.listing.feed, one.listing.key].add(one.discard)
        now = self._clock()
        attempts = OptimisticUpdate.of_read(self._listings, listings)
        async for current in attempts:
            changed = [await self._without_lost(listing, done[one]) for one, listing in current.items()]
            await attempts.write(
                lifecycle.retry_removal(
                    lifecycle.finish_removal(one, done[one.feed, one.key]), remained[one.feed, one.key], now
                )
                for one in changed
            )

    async def _without_lost(self, listing: Listing, gone: Collection[Discard]) -> Listing:
        """Look whether what was deleted is a copy again by now, and whether that is there."""
        doubted = decide.doubtful(listing, gone)
        if not doubted:
            return listing
        prefixes = {keys.photo_prefix(listing.feed, listing.key, photo.object_id) for photo in doubted}
        found = [await self._by_photo(bucket, prefixes) for bucket in Bucket]
        held = {key for by_photo in found for some in by_photo.values() for key in some}
        return decide.without_lost_copies(listing, doubted, held, self._clock())

    def _report(self, gone: Iterable[Gone]) -> None:
        for one in gone:
            facts = {
                "feed": one.listing.feed,
                "listing_key": one.listing.key,
                "image_id": one.discard.image_id,
                "reason": one.discard.reason.value,
                "objects": one.objects,
            }
            if one.remained:
                self._refused.inc(len(one.remained))
                _logger.error("removal-refused", **facts, remained=one.remained[:5])
            else:
                self._removed.labels(one.discard.reason).inc()
                _logger.info("image-removed", **facts)


def _photo_end(key: str) -> int:
    """Return where a photo's prefix ends in a key: after its third part."""
    end = 0
    for _ in range(3):
        end = key.find("/", end) + 1
    return end


def _evidence(gone: Gone, now: datetime) -> Removal:
    discard, remained = gone.discard, sorted(gone.remained)
    identity = "|".join([discard.image_id, discard.reason, discard.since.isoformat(), *remained])
    return Removal(
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        feed=gone.listing.feed,
        listing_key=gone.listing.key,
        image_id=discard.image_id,
        reason=discard.reason.value,
        mls_status=gone.listing.standard_status,
        off_market_at=to_millisecond(discard.off_market_at) if discard.off_market_at else None,
        hidden_at=discard.since,
        unshown_at=discard.unshown_at or discard.since,
        removed_at=now,
        objects=gone.objects,
        remained=tuple(remained),
    )
