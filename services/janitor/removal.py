"""Removes what must no longer be held: objects of both buckets, then evidence, then the event, then the record.

Every step can be repeated: a janitor that dies in between is followed by one that does it again.
"""

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter

from services.janitor import decide
from shared import log
from shared.clock import Clock
from shared.domain import keys
from shared.domain.listing import Discard, Listing
from shared.events.images import ImageRemoved
from shared.lease import Lease
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.listings import Listings
from shared.stores.objects import Bucket, Objects
from shared.stores.records import Removal, Removals

_AT_ONCE = 20
_MOST_ROUNDS = 20

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Gone:
    """A discard whose objects are deleted, and the keys that were there or recorded."""

    discard: Discard
    public_keys: Collection[str]
    original_keys: Collection[str]


class Remover:
    """The loop of the one janitor that holds the lease."""

    def __init__(
        self,
        listings: Listings,
        objects: Objects,
        removals: Removals,
        lease: Lease,
        publisher: Publisher,
        renderer: Renderer,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._objects = objects
        self._removals = removals
        self._lease = lease
        self._publisher = publisher
        self._renderer = renderer
        self._clock = clock
        self._removed = Counter("listing_images_removed", "Images removed, by reason", ["reason"], registry=registry)

    async def sweep(self) -> int:
        """Remove what is due; return how many listings it was due of. Raises StoreUnavailable, BrokerUnavailable."""
        swept = 0
        while await self._lease.is_held() and (due := await self._listings.removal_due(self._clock(), _AT_ONCE)):
            await asyncio.gather(*(self._remove(listing) for listing in due))
            swept += len(due)
        return swept

    async def _remove(self, listing: Listing) -> None:
        begun = decide.begin(listing, self._clock())
        if await self._listings.write([begun]):
            return  # it changed meanwhile: the next round decides again
        gone = await asyncio.gather(*(self._delete(begun, discard) for discard in decide.removing(begun)))
        held = [
            one for one in gone if one.public_keys or one.original_keys
        ]  # of the others there was nothing to remove
        now = self._clock()
        await self._removals.add([_evidence(begun, one, now) for one in held])
        await self._publisher.publish(self._event(begun, one, now) for one in held)
        await self._finish(begun, [one.discard for one in gone])
        for one in held:
            self._removed.labels(one.discard.reason).inc()
            _logger.info(
                "image-removed",
                feed=listing.feed,
                listing_key=listing.key,
                image_id=one.discard.image_id,
                reason=one.discard.reason.value,
                objects=len(one.public_keys) + len(one.original_keys),
            )

    async def _delete(self, listing: Listing, discard: Discard) -> Gone:
        public, originals = set(discard.public_keys), set(discard.original_keys)
        if discard.whole:
            prefix = keys.photo_prefix(listing.feed, listing.key, discard.photo)
            public |= set(await self._objects.list(Bucket.PUBLIC, prefix))
            originals |= set(await self._objects.list(Bucket.ORIGINALS, prefix))
        await self._objects.delete(Bucket.PUBLIC, public)
        await self._objects.delete(Bucket.ORIGINALS, originals)
        return Gone(discard, sorted(public), sorted(originals))

    def _event(self, listing: Listing, gone: Gone, now: datetime) -> ImageRemoved:
        return ImageRemoved(
            feed=listing.feed,
            listing_key=listing.key,
            image_id=gone.discard.image_id,
            reason=gone.discard.reason,
            removed_at=now,
            urls=tuple(self._renderer.url(key) for key in gone.public_keys),
        )

    async def _finish(self, listing: Listing, gone: Sequence[Discard]) -> None:
        """Take what is gone off the record. Left undone by contention, the next round repeats the removal."""
        for _ in range(_MOST_ROUNDS):
            known = await self._listings.get(listing.feed, listing.key)
            if known is None or not await self._listings.write([decide.finish(known, gone)]):
                return


def _evidence(listing: Listing, gone: Gone, now: datetime) -> Removal:
    discard = gone.discard
    identity = f"{discard.image_id}|{discard.reason}|{discard.since.isoformat()}"
    return Removal(
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        feed=listing.feed,
        listing_key=listing.key,
        image_id=discard.image_id,
        reason=discard.reason.value,
        hidden_at=discard.since,
        removed_at=now,
        objects=len(gone.public_keys) + len(gone.original_keys),
    )
