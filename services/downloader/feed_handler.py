"""Handles the requested photos of one feed, group by group: reads, claims, downloads, settles and reports them."""

import asyncio
import time
from collections.abc import Sequence

from services.downloader.attempting import Attempter
from services.downloader.claiming import ClaimedListing, Claimer
from services.downloader.feed_queue import FeedQueue, Requested
from services.downloader.outcomes import EndedAttempt
from services.downloader.refreshing import RefreshingClaimer
from services.downloader.reporting import Reporter
from services.downloader.retrying import all_done, until_available
from services.downloader.settling import Settler
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.downloads import DownloadBatch
from shared.stores.errors import Contention
from shared.stores.listings import ListingRecords
from shared.stores.updates import MAX_ATTEMPTS

_MAX_BUDGET_WAIT_SECONDS = 8.0
"""How long a group waits for the budget to grant its downloads: about as long as a scheduler's release lasts."""
_LINGER_SECONDS = 1.5
"""How long a finished photo waits for others of its listing, so that one write settles them all.

It does not wait if a visitor waits for one of them."""


class FeedHandler:
    """Downloads the photos of one feed that the events of one subscription request, in groups of a few listings."""

    def __init__(
        self,
        feed: Feed,
        listings: ListingRecords,
        claimer: Claimer | RefreshingClaimer,
        attempter: Attempter,
        settler: Settler,
        reporter: Reporter,
        concurrency: int,
    ) -> None:
        """`concurrency` is how many groups are handled at a time."""
        self._feed = feed
        self._listings = listings
        self._claimer = claimer
        self._attempter = attempter
        self._settler = settler
        self._reporter = reporter
        self._queue = FeedQueue(self._handle_group, concurrency)

    async def handle(self, requested: Requested) -> None:
        """Queue the requested photos, and return when each of them is settled, deferred or found to need no attempt.

        `requested` are the events by listing. Raises StoreUnavailable if the database does not answer, Contention if
        other processes keep changing a listing, and BrokerUnavailable if Kafka does not answer. The caller may then
        handle the same events again.
        """
        await self._queue.submit(requested)

    async def _handle_group(self, requested: Requested) -> None:
        remaining, running = dict(requested), list[asyncio.Task[None]]()
        wait_until = time.monotonic() + _MAX_BUDGET_WAIT_SECONDS
        max_grants = sum(map(len, requested.values()))  # a round for each, if downloads are granted singly
        try:
            for _ in range(MAX_ATTEMPTS + max_grants):
                readings = await self._listings.get_many(list(remaining))
                claimed = await self._claimer.claim(readings, remaining, wait_until - time.monotonic())
                if claimed.batch:
                    running.append(asyncio.create_task(self._attempt_all(claimed.listings, claimed.batch)))
                remaining = {listing_id: remaining[listing_id] for listing_id in claimed.unfinished}
                if not remaining:
                    return
            raise Contention(f"{len(remaining)} listings changed before each attempt to claim their photos")
        except asyncio.CancelledError:
            for task in running:
                task.cancel()
            raise
        finally:
            await all_done(running)

    async def _attempt_all(self, listings: Sequence[ClaimedListing], batch: DownloadBatch) -> None:
        try:
            await all_done(self._attempt_listing(listing, batch) for listing in listings)
        finally:
            await self._attempter.end_batch(batch)

    async def _attempt_listing(self, listing: ClaimedListing, batch: DownloadBatch) -> None:
        """Download the claimed photos of a listing concurrently, settle and report them, and close `listing.claims`.

        `batch` is the batch with the photos' granted downloads; the caller ends it. Photos that end at about the same
        time are settled with one write. But if a photo of the listing is viewed or searched, each photo is settled as
        soon as it ends.
        """
        listing_key = listing.listing_id[1]
        pending = {
            asyncio.create_task(self._attempter.attempt(self._feed, listing_key, claimed, batch))
            for claimed in listing.photos
        }
        is_awaited = any(claimed.photo.priority in (Priority.VIEWED, Priority.SEARCHED) for claimed in listing.photos)
        with listing.claims:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if pending and not is_awaited:
                    more, pending = await asyncio.wait(pending, timeout=_LINGER_SECONDS)
                    done |= more
                await self._settle(listing, [task.result() for task in done])

    async def _settle(self, listing: ClaimedListing, ended: Sequence[EndedAttempt]) -> None:
        # Waits while the store is unavailable: if outcomes were lost, the origin would be asked for the bytes again.
        settled = await until_available(lambda: self._settler.settle(self._feed, listing.listing_id, ended))
        # Before the report and the end of the batch: a photo that is due again at once may be requested by then.
        listing.claims.release({attempt.photo.id for attempt in ended})
        await self._reporter.report(listing.listing_id, ended, settled)
