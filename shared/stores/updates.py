"""Changes listings that others may write at the same time (optimistic concurrency): read, decide, write, decide again.

A write names the revision that was read. The store refuses it if someone else has written since; the refused listing is
then read anew and the decision is made again.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping

from shared.domain.listing import Listing
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.listings import ListingRecords

MAX_ATTEMPTS = 20
_FIRST_PAUSE_SECONDS = 0.002
_MAX_PAUSE_SECONDS = 0.1

Readings = Mapping[ListingId, Listing]
"""Listings as they were read, by id. A listing that is not recorded is absent."""


async def update(
    listings: ListingRecords, ids: Collection[ListingId], rule: Callable[[Listing], Listing | None]
) -> list[Listing]:
    """Apply a rule to each recorded listing of `ids`, and write the listings that it changes.

    The rule takes a listing and returns the changed listing, or None for no change. If a write is refused, the rule is
    called again with a new reading. Returns the listings that were written, as the rule returned them. Raises
    StoreUnavailable, and Contention if a write is refused MAX_ATTEMPTS times.
    """
    written: list[Listing] = []
    attempts = OptimisticUpdate(listings, ids)
    async for readings in attempts:
        written += await attempts.write(after for listing in readings.values() if (after := rule(listing)))
    return written


class OptimisticUpdate:
    """An update of several listings, as a loop over attempts, for decisions that need all listings together.

    ::

        attempts = OptimisticUpdate(listings, ids)
        async for readings in attempts:
            written = await attempts.write(decide(readings))

    The first attempt reads all the listings. Each further attempt follows a random pause, and reads the listings whose
    write was refused in the previous attempt. The loop ends when no write was refused. After MAX_ATTEMPTS attempts it
    raises Contention.
    """

    def __init__(self, listings: ListingRecords, ids: Collection[ListingId], readings: Readings | None = None) -> None:
        """`ids` are the listings to update. `readings` are the same listings if the caller has just read them.

        Without `readings`, the first attempt reads the listings.
        """
        self.ids = ids
        """The listings of this attempt; after Contention, those that were not written."""
        self._listings = listings
        self._readings = readings
        self._refused = ids
        self._attempt = 0

    @classmethod
    def of_read(cls, listings: ListingRecords, read: Iterable[Listing]) -> "OptimisticUpdate":
        """Return an update whose first attempt yields the listings `read`, which the caller has just read."""
        readings = {(listing.feed, listing.key): listing for listing in read}
        return cls(listings, readings.keys(), readings)

    def __aiter__(self) -> "OptimisticUpdate":
        return self

    async def __anext__(self) -> Readings:
        self.ids = self._refused
        if not self.ids:
            raise StopAsyncIteration
        if self._attempt == MAX_ATTEMPTS:
            count = len(self.ids)
            listings = "a listing" if count == 1 else f"{count} listings"
            raise Contention(f"others changed {listings} before each of {MAX_ATTEMPTS} attempts to write")
        if self._attempt:
            await back_off(self._attempt)
        if self._attempt or self._readings is None:
            self._readings = await self._listings.get_many(self.ids)
        self._attempt += 1
        self._refused = ()
        return self._readings

    async def write(self, changed: Iterable[Listing]) -> list[Listing]:
        """Write the changed listings of this attempt; return those that were written. Raises StoreUnavailable.

        Call this method at most once in each attempt. The next attempt has the listings whose write was refused;
        listings that were not passed here are not read again.
        """
        changed = list(changed)
        self._refused = await self._listings.write(changed)
        return [listing for listing in changed if (listing.feed, listing.key) not in self._refused]


async def back_off(attempt: int, chance: Callable[[], float] = random.random) -> None:
    """Sleep before a retry. The longest sleep is 0.002 seconds for attempt 0, and doubles with each, up to 0.1 seconds.

    `chance` returns a number from 0 to 1, the share of the longest sleep that is taken: so writers that were refused
    together do not retry together.
    """
    await asyncio.sleep(chance() * min(_FIRST_PAUSE_SECONDS * 2**attempt, _MAX_PAUSE_SECONDS))
