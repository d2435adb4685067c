"""Those who wait for a photo while others leave, and while what they wait for hangs or is away."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.resolver.batches import Overloaded
from services.resolver.catalog import Name
from services.resolver.decide import Absence, Absent
from services.resolver.queue import Queue
from shared.domain.priority import Priority
from shared.domain.throughput import Throughput
from shared.kafka import BrokerUnavailable
from shared.stores.errors import StoreUnavailable
from shared.stores.memory import MemoryListings, MemoryThroughputs
from tests.answering import RENDERER, a_resolver
from tests.builders import FEED, NOW, a_copy, a_feed, a_listing, a_photo, after
from tests.system import MAX_WAIT_SECONDS


class Slow(MemoryThroughputs):
    """Paces that come when they may."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_come = asyncio.Event(), asyncio.Event()

    async def get(self, feed: str) -> Throughput | None:
        """Answer late."""
        self.is_asked.set()
        await self.may_come.wait()
        return await super().get(feed)


async def test_who_leaves_takes_the_estimate_of_nobody_else_along() -> None:
    throughputs = Slow()
    await throughputs.put(FEED, Throughput(NOW, 0.5))
    listings = MemoryListings(RENDERER)
    await listings.write([a_listing(a_photo("a", priority=Priority.VIEWED, not_before=after(-60)))])
    queue = Queue(listings, throughputs, {FEED: a_feed()}, lambda: NOW)
    leaving, staying = (asyncio.create_task(queue.seconds(FEED)) for _ in range(2))
    await throughputs.is_asked.wait()
    leaving.cancel()
    await asyncio.wait([leaving])
    throughputs.may_come.set()
    assert await staying == 2


async def test_an_estimate_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = a_photo("a", priority=Priority.VIEWED)
    async with a_resolver(a_listing(photo), clock=lambda: NOW, serve_wait_seconds=0) as resolver:
        monkeypatch.setattr(resolver.throughputs, "get", Slow().get)
        async with asyncio.timeout(3):
            answer = await resolver.http.get(f"/api/images/serve?id={photo.id}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("part", "call", "fault"),
    [
        ("demand", "now", StoreUnavailable("away")),
        ("demand", "now", BrokerUnavailable("away")),
        ("catalog", "image", StoreUnavailable("away")),
        ("catalog", "image", Overloaded()),
        ("catalog", "image", TimeoutError()),
    ],
)
async def test_who_waits_while_a_server_is_away_is_sent_to_the_photo_once_both_are_there(
    monkeypatch: pytest.MonkeyPatch, part: str, call: str, fault: Exception
) -> None:
    photo, copy = a_photo("a"), a_copy("a")
    async with a_resolver(a_listing(photo)) as resolver:
        found = await resolver.parts.catalog.image(Name(photo.id))
        assert found is not None
        is_met = asyncio.Event()

        async def away(*_: object) -> Any:
            is_met.set()
            raise fault

        with monkeypatch.context() as outage:
            outage.setattr(getattr(resolver.parts, part), call, away)
            absent = Absent(Absence.ON_ITS_WAY, None)
            waiting = asyncio.create_task(resolver.parts.waiting.wait(found, absent, MAX_WAIT_SECONDS))
            await is_met.wait()
        await resolver.record(photos=(replace(photo, copy=copy),))
        resolver.parts.waiting.tell(photo.id)
        assert await waiting == copy
