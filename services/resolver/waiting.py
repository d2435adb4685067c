"""Where people wait for a photo that is on its way: one watch an image, whoever and however many wait for it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from services.resolver import decide
from services.resolver.catalog import Catalog
from services.resolver.decide import Absent, Missing
from services.resolver.demand import Demand
from shared import log
from shared.clock import Clock
from shared.domain.image import Copy
from shared.kafka import BrokerUnavailable
from shared.stores.documents import ListingId
from shared.stores.errors import StoreUnavailable

LOOK_SECONDS = 0.5
"""How often a watch looks by itself, in case the event is lost."""

_logger = log.get(__name__)
Shown = Copy | Absent | None


@dataclass(slots=True)
class _Watch:
    found: asyncio.Future[Shown]
    since: datetime
    waiters: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)
    last: Shown = None


class Waiting:
    """The watches of one resolver."""

    def __init__(self, catalog: Catalog, demand: Demand, clock: Clock) -> None:
        self._catalog = catalog
        self._demand = demand
        self._clock = clock
        self._watches: dict[str, _Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait(self, one: ListingId, image_id: str, absent: Absent, seconds: float) -> Shown:
        """Have an absent image fetched first of all; return what can be shown of it as soon as that is settled.

        At the latest after so many seconds, with what is known then.
        """
        watch = self._watches.get(image_id) or self._begin(one, image_id, absent)
        watch.waiters += 1
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(watch.found)
        except TimeoutError:
            return watch.last
        finally:
            watch.waiters -= 1

    def tell(self, image_id: str) -> None:
        """Wake the watch of an image: an event says that it changed."""
        if watch := self._watches.get(image_id):
            watch.told.set()

    def _begin(self, one: ListingId, image_id: str, absent: Absent) -> _Watch:
        watch = _Watch(asyncio.get_running_loop().create_future(), self._clock(), last=absent)
        self._watches[image_id] = watch
        task = asyncio.create_task(self._look(one, image_id, watch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return watch

    async def _look(self, one: ListingId, image_id: str, watch: _Watch) -> None:
        """Raise the image, then look whenever told to, and every so often, until there is something to say."""
        try:
            await self._raise(one, image_id)
            while watch.waiters:
                watch.last = await self._now(image_id, watch)
                if not (isinstance(watch.last, Absent) and watch.last.why is Missing.ON_ITS_WAY):
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await watch.told.wait()
                watch.told.clear()
        finally:
            del self._watches[image_id]
            watch.found.set_result(watch.last)

    async def _raise(self, one: ListingId, image_id: str) -> None:
        try:
            await self._demand.now(one, image_id)
        except (StoreUnavailable, BrokerUnavailable) as fault:
            _logger.warning("demand-dropped", image_id=image_id, error=str(fault))

    async def _now(self, image_id: str, watch: _Watch) -> Shown:
        self._catalog.forget_image(image_id)
        try:
            listing = await self._catalog.listing_of(image_id)
        except StoreUnavailable as fault:
            _logger.warning("waiting-for-infrastructure", error=str(fault))
            return watch.last
        return decide.shown(listing, image_id, watch.since) if listing else None
