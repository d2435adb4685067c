"""Visitors who wait for a photo that is on its way. One task for each photo reads its state for all who wait for it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge

from services.resolver import decide
from services.resolver.answer_cache import AnswerCache
from services.resolver.batches import Overloaded
from services.resolver.decide import Absence, Absent
from services.resolver.demand import DemandQueue
from services.resolver.lookups import PhotoLookup
from shared import log
from shared.clock import Clock
from shared.domain.image import Copy
from shared.kafka import BrokerUnavailable
from shared.stores.answers import ShownPhoto
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable

POLL_SECONDS = 0.5
"""How often a photo that visitors wait for is read without an event, in case the event is lost."""
MAX_AWAITED_PHOTOS = 5_000
"""Counts photos, not visitors: each photo is read by its own task."""

_logger = log.get(__name__)
PhotoState = Copy | Absent | None
"""What can be shown of a photo: its copy, why there is none, or None if no displayed listing shows the photo."""


@dataclass(slots=True)
class _AwaitedPhoto:
    """Holds, in memory, a photo without a copy, its last known state, and the visitors who wait for it.

    `since` is when the first visitor began to wait; `changed` is set when an event about the photo arrives.
    """

    listing_id: ListingId
    image_id: str
    since: datetime
    state: PhotoState
    """The state as last read."""
    outcomes: set[asyncio.Future[PhotoState]] = field(default_factory=set)
    """One future for each visitor. A shared future would be searched for each visitor who leaves."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Waiters:
    """Lets visitors' requests wait in this process until the attempts for the photos that they want have ended."""

    def __init__(self, cache: AnswerCache, demand: DemandQueue, clock: Clock, registry: CollectorRegistry) -> None:
        self._cache = cache
        self._demand = demand
        self._clock = clock
        self._awaited: dict[str, _AwaitedPhoto] = {}
        """The photos that visitors wait for, by image id."""
        self._tasks: set[asyncio.Task[None]] = set()
        waiters = Gauge("listing_images_waiters", "Visitors who wait for a photo", registry=registry)
        waiters.set_function(lambda: sum(len(photo.outcomes) for photo in self._awaited.values()))

    async def wait(self, shown: ShownPhoto, absent: Absent, seconds: float) -> PhotoState:
        """Raise a photo without a copy to priority `viewed`, and wait until its attempt has ended, at most `seconds`.

        `absent` says why the photo had no copy when the caller read it. Returns the state of the photo when the attempt
        has ended, or its last known state after `seconds`. Returns None if no displayed listing shows the photo any
        more. Raises Overloaded if visitors already wait for 5,000 other photos.
        """
        photo = self._awaited.get(shown.photo.id) or self._begin(shown, absent)
        outcome: asyncio.Future[PhotoState] = asyncio.get_running_loop().create_future()
        photo.outcomes.add(outcome)
        try:
            async with asyncio.timeout(seconds):
                return await outcome
        except TimeoutError:
            return photo.state
        finally:
            photo.outcomes.discard(outcome)

    def wake(self, image_id: str) -> None:
        """Make the task that watches a photo read the photo's state now instead of at its next poll.

        Called when an event about the photo arrives. Does nothing if no visitor waits for the photo in this process.
        """
        if photo := self._awaited.get(image_id):
            photo.changed.set()

    def _begin(self, shown: ShownPhoto, absent: Absent) -> _AwaitedPhoto:
        """Start the task that watches a photo without a copy, and return the object to which visitors are added.

        Called for the first visitor who waits for the photo. `absent` says why the photo had no copy when it was read.
        Raises Overloaded if 5,000 photos are watched already.
        """
        if len(self._awaited) >= MAX_AWAITED_PHOTOS:
            raise Overloaded
        photo = _AwaitedPhoto((shown.feed, shown.listing_key), shown.photo.id, self._clock(), absent)
        self._awaited[photo.image_id] = photo
        task = asyncio.create_task(self._watch(photo))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return photo

    async def _watch(self, photo: _AwaitedPhoto) -> None:
        """Raise a photo to priority `viewed`, then read its state again and again until its attempt has ended.

        The state is read at each event about the photo, and every half second. At the end, all visitors who wait for
        the photo get the last state that was read, and the photo is no longer watched. If all visitors leave before,
        the task ends too.
        """
        try:
            await self._raise(photo)
            while photo.outcomes:
                photo.state = await self._read(photo)
                if not (isinstance(photo.state, Absent) and photo.state.reason is Absence.ON_ITS_WAY):
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await photo.changed.wait()
                photo.changed.clear()
        finally:
            del self._awaited[photo.image_id]
            for outcome in photo.outcomes:
                if not outcome.done():
                    outcome.set_result(photo.state)

    async def _raise(self, photo: _AwaitedPhoto) -> None:
        try:
            await self._demand.raise_now(photo.listing_id, photo.image_id)
        except (StoreUnavailable, Contention, BrokerUnavailable) as error:
            _logger.warning("demand-dropped", image_id=photo.image_id, error=str(error))

    async def _read(self, photo: _AwaitedPhoto) -> PhotoState:
        """Read a photo's state from MongoDB and return it; None if no displayed listing shows the photo any more.

        If MongoDB does not answer in time, or too many keys wait to be read, that is logged and the last known state is
        returned.
        """
        self._cache.invalidate_photo(photo.image_id)
        try:
            shown = await self._cache.photo(PhotoLookup(photo.image_id))
        except (StoreUnavailable, Overloaded, TimeoutError) as error:
            _logger.warning("waiting-for-infrastructure", error=str(error) or "no answer in time")
            return photo.state
        return decide.find_copy(shown, photo.since) if shown else None
