"""Where people wait for a photo that is on its way: one watch an image, whoever and however many wait for it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge

from services.resolver import decide
from services.resolver.batches import Overloaded
from services.resolver.catalog import Catalog, Name
from services.resolver.decide import Absence, Absent
from services.resolver.demand import Demand
from shared import log
from shared.clock import Clock
from shared.domain.image import Copy
from shared.kafka import BrokerUnavailable
from shared.stores.answers import ShownPhoto
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable

LOOK_SECONDS = 0.5
"""How often a watch looks by itself, in case the event is lost."""
_MOST_WATCHES = 5_000
"""Images, not visitors: each is looked at by itself."""

_logger = log.get(__name__)
Seen = Copy | Absent | None
"""What can be shown of an image; None where it must not be known at all."""


@dataclass(slots=True)
class _Watch:
    one: ListingId
    image_id: str
    since: datetime
    last: Seen
    waiters: set[asyncio.Future[Seen]] = field(default_factory=set)
    """One future each: of one that all share, each who leaves would have all the others looked through."""
    told: asyncio.Event = field(default_factory=asyncio.Event)


class Waiting:
    """The watches of one resolver."""

    def __init__(self, catalog: Catalog, demand: Demand, clock: Clock, registry: CollectorRegistry) -> None:
        self._catalog = catalog
        self._demand = demand
        self._clock = clock
        self._watches: dict[str, _Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        waiters = Gauge("listing_images_waiters", "Visitors who wait for a photo", registry=registry)
        waiters.set_function(lambda: sum(len(watch.waiters) for watch in self._watches.values()))

    async def wait(self, found: ShownPhoto, absent: Absent, seconds: float) -> Seen:
        """Have an absent image fetched first of all; return what can be shown of it as soon as that is settled.

        At the latest after so many seconds, with what is known then. Raises Overloaded.
        """
        watch = self._watches.get(found.photo.id) or self._begin(found, absent)
        outcome: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        watch.waiters.add(outcome)
        try:
            async with asyncio.timeout(seconds):
                return await outcome
        except TimeoutError:
            return watch.last
        finally:
            watch.waiters.discard(outcome)

    def tell(self, image_id: str) -> None:
        """Wake the watch of an image: an event says that it changed."""
        if watch := self._watches.get(image_id):
            watch.told.set()

    def _begin(self, found: ShownPhoto, absent: Absent) -> _Watch:
        if len(self._watches) >= _MOST_WATCHES:
            raise Overloaded
        watch = _Watch((found.feed, found.listing_key), found.photo.id, self._clock(), absent)
        self._watches[watch.image_id] = watch
        task = asyncio.create_task(self._look(watch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return watch

    async def _look(self, watch: _Watch) -> None:
        """Raise the image, then look whenever told to, and every so often, until there is something to say."""
        try:
            await self._raise(watch)
            while watch.waiters:
                watch.last = await self._now(watch)
                if not (isinstance(watch.last, Absent) and watch.last.reason is Absence.ON_ITS_WAY):
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await watch.told.wait()
                watch.told.clear()
        finally:
            del self._watches[watch.image_id]
            for outcome in watch.waiters:
                if not outcome.done():
                    outcome.set_result(watch.last)

    async def _raise(self, watch: _Watch) -> None:
        try:
            await self._demand.now(watch.one, watch.image_id)
        except (StoreUnavailable, Contention, BrokerUnavailable) as fault:
            _logger.warning("demand-dropped", image_id=watch.image_id, error=str(fault))

    async def _now(self, watch: _Watch) -> Seen:
        self._catalog.forget_image(watch.image_id)
        try:
            found = await self._catalog.image(Name(watch.image_id))
        except (StoreUnavailable, Overloaded, TimeoutError) as fault:
            _logger.warning("waiting-for-infrastructure", error=str(fault) or "no answer in time")
            return watch.last
        return decide.find_copy(found, watch.since) if found else None
