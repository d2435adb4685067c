"""Changes listings that others may write at the same time (optimistic concurrency): read, decide, write, decide again.

A write names the revision that was read. The store refuses the write if someone else has written the listing since. The
refused listing is then read again, and the decision is made again.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping

from shared.domain.listing import Listing
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, ListingsUnwritable
from shared.stores.listings import ListingRecords

MAX_ATTEMPTS = 20
_FIRST_PAUSE_SECONDS = 0.002
_MAX_PAUSE_SECONDS = 0.1

Readings = Mapping[ListingId, Listing]
"""Listings as they were read, by id. A listing that is not recorded is absent."""


async def update(
    listings: ListingRecords, ids: Collection[ListingId], rule: Callable[[Listing], Listing | None]
) -> list[Listing]:
    """Apply `rule` to each recorded listing among `ids`, write the listings that it changes, and return these.

    `rule` gets a listing and returns the changed listing, or None for no change. If others have written a listing since
    it was read, the listing is read again, and `rule` is called again. The written listings are returned as `rule`
    returned them. Raises StoreUnavailable if the store does not answer, Contention if a write is refused MAX_ATTEMPTS
    times, and ListingsUnwritable if a changed listing is too large for the store.
    """
    written: list[Listing] = []
    attempts = OptimisticUpdate(listings, ids)
    async for readings in attempts:
        written += await attempts.write(after for listing in readings.values() if (after := rule(listing)))
    return written


async def write_others(listings: ListingRecords, changed: Iterable[Listing]) -> Collection[ListingId]:
    """Write listings, as `ListingRecords.write` does; return the ids of those that were not written.

    A listing that is too large for the store raises nothing: the store has quarantined it, its id is among those
    returned, and the caller continues with the others. Raises StoreUnavailable.
    """
    try:
        return await listings.write(changed)
    except ListingsUnwritable as error:
        return error.refused


class OptimisticUpdate:
    """An update of several listings that others may write too, as a loop over attempts to write them.

    Use it rather than `update` if the decision needs all listings together:

    ::

        attempts = OptimisticUpdate(listings, ids)
        async for readings in attempts:
            written = await attempts.write(decide(readings))

    `listings` is the store, and `ids` the ids of the listings to change. `decide` stands for the caller's rule: it gets
    `readings`, the recorded listings of this attempt by id, and returns the changed ones. Listings that are not
    recorded are absent from `readings`.

    The first attempt has all the listings. Each further attempt follows a random pause, and has the listings whose
    write was refused in the attempt before, read again. The loop ends when no write was refused; if `ids` is empty, it
    ends without an attempt. It raises StoreUnavailable if the store does not answer, and Contention if a write was
    refused in the last of MAX_ATTEMPTS attempts.
    """

    def __init__(self, listings: ListingRecords, ids: Collection[ListingId], readings: Readings | None = None) -> None:
        """Prepare an update of the listings `ids`; nothing is read or written yet.

        `readings` has, by id, the listings that the caller has just read; a listing that is absent counts as not
        recorded. If `readings` is None, the first attempt reads the listings.
        """
        self.ids = ids
        """The listings of this attempt; after Contention, those that were not written."""
        self._listings = listings
        self._readings = readings
        self._refused = ids
        self._attempt = 0

    @classmethod
    def of_read(cls, listings: ListingRecords, read: Iterable[Listing]) -> "OptimisticUpdate":
        """Return an update of the listings `read`. The caller has just read them: the first attempt reads nothing."""
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
        """Write the listings that the caller changed in this attempt; return those that were written, as passed.

        Call this method at most once in an attempt; without a call, or with an empty `changed`, the loop ends. The next
        attempt has only the listings whose write was refused here. Raises StoreUnavailable if the store does not
        answer, and ListingsUnwritable if a listing is too large for the store.
        """
        changed = list(changed)
        self._refused = await self._listings.write(changed)
        return [listing for listing in changed if (listing.feed, listing.key) not in self._refused]


async def back_off(attempt: int, chance: Callable[[], float] = random.random) -> None:
    """Sleep for a random time before a refused write is tried again.

    `attempt` is the number of the attempt, from 0. The longest sleep is 0.002 seconds for attempt 0, and doubles with
    each attempt, up to 0.1 seconds. `chance` is called without arguments and returns which share of the longest sleep,
    from 0 to 1, is slept. A random share keeps writers that were refused together from trying again together.
    """
    await asyncio.sleep(chance() * min(_FIRST_PAUSE_SECONDS * 2**attempt, _MAX_PAUSE_SECONDS))
