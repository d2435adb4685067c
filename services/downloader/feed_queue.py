"""Queues the requested photos of one feed, so that no feed delays another, and handles them in small groups."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.events.codec import Event
from shared.events.images import ImageOutdated
from shared.kafka import BrokerUnavailable
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable

Requested = Mapping[ListingId, Sequence[Event[ImageOutdated]]]
"""The `image-outdated` events of each listing."""

MAX_GROUP_EVENTS = 10
"""A group gets no further listing once it has this many events. A group usually costs one write of the ledger to take
its downloads, and one write of each listing to claim its photos."""


@dataclass(slots=True, eq=False)
class QueuedListing:
    """A listing that waits in a queue or is being handled.

    `done` is a future that ends when the listing is handled. If the handling fails, the future has the error.
    """

    listing_id: ListingId
    events: Sequence[Event[ImageOutdated]]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FeedQueue:
    """The queue of one feed, in memory: passes groups of listings to a function, in the order of their arrival."""

    def __init__(self, handle: Callable[[Requested], Awaitable[None]], concurrency: int) -> None:
        """`handle` is called with each group: the events of a few listings that are handled together, by listing.

        `concurrency` is how many groups may be handled at a time.
        """
        self._handle = handle
        self._capacity = asyncio.Semaphore(concurrency)
        self._waiting: deque[QueuedListing] = deque()

    async def submit(self, requested: Requested) -> None:
        """Queue the listings of `requested`; return when all of them have been handled, by this or by concurrent calls.

        `requested` are the events of each listing, and must not be empty. If the handling of listings failed, the call
        raises the error of the first failed listing in the order of `requested`, once all have been handled. If the
        call is cancelled, its listings leave the queue.
        """
        queued = [QueuedListing(listing_id, events) for listing_id, events in requested.items()]
        self._waiting += queued
        try:
            async with self._capacity:
                await self._run(self._next_group())
            await asyncio.wait([listing.done for listing in queued])
        finally:
            for listing in queued:
                listing.done.cancel()  # has no effect unless this call was cancelled
        for listing in queued:
            listing.done.result()

    def _next_group(self) -> list[QueuedListing]:
        """Remove the listings that have waited longest from the queue, and return them: about MAX_GROUP_EVENTS events.

        The group is empty if concurrent calls have taken all listings. No listing stays in the queue for ever: each
        call of `submit` adds at most MAX_GROUP_EVENTS events, and takes at least as many, or all events that are left.
        """
        group: list[QueuedListing] = []
        while self._waiting and sum(len(listing.events) for listing in group) < MAX_GROUP_EVENTS:
            listing = self._waiting.popleft()
            if not listing.done.cancelled():
                group.append(listing)
        return group

    async def _run(self, group: Sequence[QueuedListing]) -> None:
        requested: dict[ListingId, list[Event[ImageOutdated]]] = {}
        for listing in group:
            requested.setdefault(listing.listing_id, []).extend(listing.events)
        try:
            if requested:
                await self._handle(requested)
        except (StoreUnavailable, Contention, BrokerUnavailable) as error:
            _finish(group, error)
        except Exception as error:  # noqa: BLE001 - `submit` raises it where its caller waits
            if len(group) == 1:
                _finish(group, error)
            else:  # handle each listing alone, so that the error of one listing does not fail the others
                for listing in group:
                    await self._run([listing])
        else:
            _finish(group)
        finally:
            for listing in group:
                listing.done.cancel()  # has no effect unless this call was cancelled


def _finish(group: Sequence[QueuedListing], error: Exception | None = None) -> None:
    """End `done` of each listing in the group, with `error` if one is given.

    Listings whose call of `submit` was cancelled are skipped.
    """
    for listing in group:
        if listing.done.done():
            continue
        if error is None:
            listing.done.set_result(None)
        else:
            listing.done.set_exception(error)
            listing.done.exception()  # marks the error as seen: perhaps no call waits for it any more
