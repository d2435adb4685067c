"""Writes the outcomes of attempts into their listing."""

import random
from collections.abc import Sequence
from datetime import timedelta

from services.downloader import decide
from services.downloader.decide import Settled
from services.downloader.outcomes import EndedAttempt
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords
from shared.stores.updates import OptimisticUpdate


class Settler:
    """Writes the outcomes of attempts of all feeds into the recorded listings."""

    def __init__(self, listings: ListingRecords, superseded_for: timedelta, clock: Clock) -> None:
        """`superseded_for` is how long a superseded copy stays public."""
        self._listings = listings
        self._superseded_for = superseded_for
        self._clock = clock

    async def settle(self, feed: Feed, listing_id: ListingId, ended: Sequence[EndedAttempt]) -> Sequence[Settled]:
        """Write the outcomes of attempts of one listing's photos into the listing, all in one write.

        The outcomes are applied to the listing as it is now. If they change nothing, nothing is written. Return a
        Settled for each attempt of `ended`, in the same order, or an empty sequence if the listing is no longer
        recorded. Raises StoreUnavailable if the database does not answer, and Contention if other processes changed the
        listing before each attempt to write.
        """
        settled: Sequence[Settled] = ()
        update = OptimisticUpdate(self._listings, [listing_id])
        async for readings in update:
            if (listing := readings.get(listing_id)) is None:
                return ()
            settled = self._decide(feed, listing, ended)
            if settled[-1].listing is not listing:
                await update.write([settled[-1].listing])
        return settled

    def _decide(self, feed: Feed, listing: Listing, ended: Sequence[EndedAttempt]) -> list[Settled]:
        """Apply the outcomes of ended attempts to the listing, one after the other; return a Settled for each attempt.

        The results are in the order of `ended`. The listing in a result has the outcomes of the result's own attempt
        and of all attempts before it. The caller therefore writes only the listing of the last result.
        """
        now, settled = self._clock(), list[Settled]()
        for attempt in ended:
            settled.append(
                decide.settle(
                    listing,
                    attempt.photo,
                    attempt.outcome,
                    feed=feed,
                    superseded_for=self._superseded_for,
                    now=now,
                    jitter=random.random(),  # noqa: S311 - spreads retries, keeps no secret
                )
            )
            listing = settled[-1].listing
        return settled
