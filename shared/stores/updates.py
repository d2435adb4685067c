"""Changes listings that others may write at the same time (optimistic concurrency): read, decide, write, decide again.

A write names the revision that was read. The store refuses it if someone else has written since; the refused listing is
then read anew and the decision is made again.
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

    `rule` gets a listing and returns the changed listing, or None for no change. If others have written a listing
    meanwhile, `rule` is called again with a new reading. The result is the written listings as `rule` returned them.
    Raises StoreUnavailable, and Contention if a write is refused MAX_ATTEMPTS times.
    """
    written: list[Listing] = []
    attempts = OptimisticUpdate(listings, ids)
    async for readings in attempts:
        written += await attempts.write(after for listing in readings.values() if (after := rule(listing)))
    return written


async def write_others(listings: ListingRecords, changed: Iterable[Listing]) -> Collection[ListingId]:
    """Write listings, as `ListingRecords.write` does; return the ids of those that were not written.

    A listing that the store can never take counts as one whose write was refused: the store has quarantined it, and the
    caller goes on with the others. Raises StoreUnavailable.
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
    `readings`, the recorded listings of this attempt by id, and returns the changed ones. The first attempt has all the
    listings; each further one follows a random pause, and has the listings whose write was refused in the attempt
    before, read anew. Listings that are not recorded are absent from `readings`. The loop ends when no write was
    refused, or without an attempt if `ids` is empty. It raises StoreUnavailable, and Contention if a write was refused
    in the last of MAX_ATTEMPTS attempts.
    """

    def __init__(self, listings: ListingRecords, ids: Collection[ListingId], readings: Readings | None = None) -> None:
        """Prepare an update of the listings `ids`; nothing is read or written yet.

        `readings` are the listings by id as the caller has just read them; one that is absent counts as not recorded.
        If `readings` is None, the first attempt reads the listings.
        """
        self.ids = ids
        """The listings of this attempt; after Contention, those that were not written."""
        self._listings = listings
        self._readings = readings
        self._refused = ids
        self._attempt = 0

    @classmethod
    def of_read(cls, listings: ListingRecords, read: Iterable[Listing]) -> "OptimisticUpdate":
        """Return an update of the listings `read`, which the caller has just read; its first attempt reads nothing."""
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
        attempt has only the listings whose write was refused here. Raises StoreUnavailable.
        """
        changed = list(changed)
        self._refused = await self._listings.write(changed)
        return [listing for listing in changed if (listing.feed, listing.key) not in self._refused]


async def back_off(attempt: int, chance: Callable[[], float] = random.random) -> None:
    """Sleep for a random time before a refused write is tried again.

    `attempt` is the number of the attempt, from 0: the longest sleep is 0.002 seconds for attempt 0, and doubles with
    each attempt, up to 0.1 seconds. `chance` is called without arguments and returns the share of the longest sleep,
    from 0 to 1, that is slept: so writers that were refused together do not retry together.
    """
    await asyncio.sleep(chance() * min(_FIRST_PAUSE_SECONDS * 2**attempt, _MAX_PAUSE_SECONDS))
