"""Removes photos that must no longer be kept, in steps.

The steps are: delete the objects in both buckets, store evidence, publish the event, and take the photo off the record.
Each step is done for a batch of listings together. Each step can be repeated: if a janitor dies between two steps, the
next janitor does them again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry, Gauge

from services.janitor.evidence import RemovalReports
from services.janitor.guard import Guard
from services.janitor.photo_objects import DeletedDiscard, PhotoObjects
from shared import log
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.listing import Discard, Listing
from shared.lease import Lease
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.removal_queue import RemovalQueue
from shared.stores.updates import OptimisticUpdate, write_others

_BATCH_SIZE = 25
"""Listings in a batch. At most MLSs they have some thousand objects, which fit into one request to delete objects."""

_logger = log.get(__name__)


class Remover:
    """Removes photos that must no longer be kept, of all feeds, while this janitor holds the lease."""

    def __init__(
        self,
        listings: RemovalQueue,
        objects: PhotoObjects,
        reports: RemovalReports,
        guard: Guard,
        lease: Lease,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._objects = objects
        self._reports = reports
        self._guard = guard
        self._lease = lease
        self._clock = clock
        self._late = Gauge(
            "listing_images_removal_late_seconds", "How long the oldest removal has been due", registry=registry
        )

    async def sweep(self) -> int:
        """Carry out all removals that are due; return how many listings had a removal due, held listings included.

        If this janitor does not hold the lease, only reset the gauges. Raises StoreUnavailable if the database or
        object storage does not answer, and BrokerUnavailable if Kafka does not answer.
        """
        swept = 0
        while await self._lease.is_held():
            await self._guard.update_holds()
            now = self._clock()
            due = await self._listings.removal_due(now, _BATCH_SIZE)
            oldest = due[0].removal_due_at if due else None
            self._late.set((now - oldest).total_seconds() if oldest else 0)
            if not due:
                break
            await self._remove(await self._guard.removable(due))
            swept += len(due)
        else:
            self._late.set(0)
            self._guard.clear_gauge()
        return swept

    async def _remove(self, listings: Sequence[Listing]) -> None:
        """Do all steps of the removal for a batch of listings, from deleting objects to taking photos off the record.

        `listings` are listings whose removal is due and that no hold covers. A listing that another process writes
        meanwhile is left for the next batch. If the lease is lost before objects are deleted, all listings are left for
        the next batch. Raises StoreUnavailable if the database or object storage does not answer, and BrokerUnavailable
        if Kafka does not answer.
        """
        now = self._clock()
        begun = await asyncio.gather(
            *(self._objects.add_unrecorded(lifecycle.begin_removal(listing, now)) for listing in listings)
        )
        if not await self._lease.is_held():
            return
        refused = await write_others(self._listings, begun)
        removing = [
            replace(listing, revision=listing.revision + 1)
            for listing in begun
            if (listing.feed, listing.key) not in refused
        ]
        if not self._lease.is_unexpired:
            return  # another janitor may hold the lease now and have removed these photos; the next batch is read anew
        deleted = await self._objects.delete(removing)
        with_objects = [each for each in deleted if each.object_count]
        await self._reports.record(with_objects, self._clock())
        try:
            await self._finish(removing, deleted)
        except Contention as error:
            _logger.warning("removal-contended", error=str(error))  # the next batch repeats the removal
        self._reports.count(with_objects)

    async def _finish(self, listings: Sequence[Listing], deleted: Sequence[DeletedDiscard]) -> None:
        """Take the discards `deleted` off the record in MongoDB.

        If storage refused to delete some of a discard's objects, the discard stays on the record, and is due again in a
        minute. A copy that was stored again and lost an object by the deletion is taken off the record. `listings` are
        the listings of `deleted`, as last written. Raises StoreUnavailable if the database or object storage does not
        answer. Raises Contention if other processes kept changing a listing: its removal must then be repeated.
        """
        removed: dict[ListingId, set[Discard]] = defaultdict(set)
        remained: dict[ListingId, set[Discard]] = defaultdict(set)
        for each in deleted:
            (remained if each.remained else removed)[each.listing.feed, each.listing.key].add(each.discard)
        now = self._clock()

        async def finished(listing_id: ListingId, listing: Listing) -> Listing:
            after = await self._objects.lose_deleted_copies(listing, removed[listing_id], now)
            after = lifecycle.finish_removal(after, removed[listing_id])
            return lifecycle.retry_removal(after, remained[listing_id], now)

        attempts = OptimisticUpdate.of_read(self._listings, listings)
        async for readings in attempts:
            await attempts.write([await finished(listing_id, listing) for listing_id, listing in readings.items()])
