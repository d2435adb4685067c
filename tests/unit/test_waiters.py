"""Visitors who wait for a photo, while others leave, or a server is slow or unavailable."""

import asyncio
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from services.resolver import decide
from services.resolver import waiters as waiters_module
from services.resolver.batches import Overloaded
from services.resolver.decide import Absence, Absent
from services.resolver.lookups import PhotoLookup
from services.resolver.wait_estimates import WaitEstimates
from shared.domain.priority import Priority
from shared.domain.throughput import Throughput
from shared.kafka import BrokerUnavailable
from shared.stores.answers import ShownPhoto
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.memory import MemoryListings, MemoryThroughputs
from tests.answering import RENDERER, a_resolver
from tests.builders import FEED, KEY, NOW, a_copy, a_feed, a_listing, a_photo, after
from tests.system import MAX_WAIT_SECONDS, until


class SlowThroughputs(MemoryThroughputs):
    """Throughputs that are not returned before `may_return` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_return = asyncio.Event(), asyncio.Event()

    async def get(self, feed: str) -> Throughput | None:
        self.is_asked.set()
        await self.may_return.wait()
        return await super().get(feed)


@pytest.fixture
def without_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have waiting visitors woken by events alone."""
    monkeypatch.setattr(waiters_module, "POLL_SECONDS", 60)


@pytest.mark.usefixtures("without_polls")
async def test_ten_thousand_who_wait_for_one_photo_share_one_event_and_wake_together() -> None:
    photo = a_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:
        waiters, found = resolver.parts.waiters, await resolver.parts.cache.photo(PhotoLookup(photo.id))
        assert found is not None
        absent = decide.find_copy(found, resolver.resources.clock())
        assert isinstance(absent, Absent)
        waits = (waiters.wait(found, absent, MAX_WAIT_SECONDS) for _ in range(10_000))
        waiting = [asyncio.create_task(wait) for wait in waits]

        async def all_wait() -> bool:
            return resolver.metric("listing_images_waiters") == 10_000 and len(resolver.broker.records) == 1

        await until(all_wait, "ten thousand to wait")
        leaving, staying = waiting[:5_000], waiting[5_000:]
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        assert resolver.metric("listing_images_waiters") == 5_000
        await resolver.record(photos=(replace(photo, copy=a_copy("a")),))
        resolver.parts.cache.invalidate(KEY, photo.id)
        waiters.wake(photo.id)
        states = await asyncio.gather(*staying)
        assert {type(state).__name__ for state in states} == {"Copy"}
        assert len(resolver.broker.records) == 1
        assert not waiters._awaited


@pytest.mark.usefixtures("without_polls")
async def test_an_event_that_comes_while_its_photo_is_read_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = a_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:
        read, is_reading, may_return = resolver.listings.showing, asyncio.Event(), asyncio.Event()

        async def read_slowly(*query: Any) -> list[ShownPhoto]:
            found = await read(*query)
            if resolver.broker.records:
                is_reading.set()
                await may_return.wait()
            return found

        monkeypatch.setattr(resolver.listings, "showing", read_slowly)
        request = resolver.http.get(f"/api/images/serve?id={photo.id}", allow_redirects=False)
        waiting = asyncio.create_task(request)
        await is_reading.wait()
        await resolver.record(photos=(replace(photo, copy=a_copy("a")),))
        resolver.parts.cache.invalidate(KEY, photo.id)
        resolver.parts.waiters.wake(photo.id)
        may_return.set()
        assert (await waiting).status == 302


async def test_a_visitor_is_sent_to_the_copy_within_two_seconds_though_the_event_is_lost() -> None:
    photo = a_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:
        waiting = await resolver.begin_waiting(photo)
        await resolver.record(photos=(replace(photo, copy=a_copy("a")),))
        async with asyncio.timeout(20):
            answer = await waiting
        assert (answer.status, answer.headers["Location"]) == (302, RENDERER.url(a_copy("a").full.key))


async def test_no_photo_is_watched_for_a_visitor_who_has_left() -> None:
    photo = a_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:
        with pytest.raises(TimeoutError):
            await resolver.http.get(f"/api/images/serve?id={photo.id}", timeout=aiohttp.ClientTimeout(0.3))

        async def is_idle() -> bool:
            return not resolver.parts.waiters._awaited

        await until(is_idle, "the watch to end", seconds=30)


@pytest.mark.parametrize(
    ("part", "method", "error"),
    [
        ("demand", "raise_now", StoreUnavailable("away")),
        ("demand", "raise_now", Contention("others were faster")),
        ("demand", "raise_now", BrokerUnavailable("away")),
        ("cache", "photo", StoreUnavailable("away")),
        ("cache", "photo", Overloaded()),
        ("cache", "photo", TimeoutError()),
    ],
)
async def test_a_visitor_who_waits_during_an_outage_is_sent_to_the_photo_after_it(
    monkeypatch: pytest.MonkeyPatch, part: str, method: str, error: Exception
) -> None:
    photo, copy = a_photo("a"), a_copy("a")
    async with a_resolver(a_listing(photo)) as resolver:
        found = await resolver.parts.cache.photo(PhotoLookup(photo.id))
        assert found is not None
        has_failed = asyncio.Event()

        async def fail(*_: object) -> Any:
            has_failed.set()
            raise error

        with monkeypatch.context() as outage:
            outage.setattr(getattr(resolver.parts, part), method, fail)
            absent = Absent(Absence.ON_ITS_WAY, None)
            waiting = asyncio.create_task(resolver.parts.waiters.wait(found, absent, MAX_WAIT_SECONDS))
            await has_failed.wait()
        await resolver.record(photos=(replace(photo, copy=copy),))
        resolver.parts.waiters.wake(photo.id)
        assert await waiting == copy


# Estimates of the wait


async def test_a_client_that_leaves_does_not_cancel_the_estimate_that_others_wait_for() -> None:
    throughputs = SlowThroughputs()
    await throughputs.put(FEED, Throughput(NOW, 0.5))
    listings = MemoryListings(RENDERER)
    await listings.write([a_listing(a_photo("a", priority=Priority.VIEWED, not_before=after(-60)))])
    estimates = WaitEstimates(listings, throughputs, {FEED: a_feed()}, lambda: NOW)
    leaving, staying = (asyncio.create_task(estimates.seconds(FEED)) for _ in range(2))
    await throughputs.is_asked.wait()
    leaving.cancel()
    await asyncio.wait([leaving])
    throughputs.may_return.set()
    assert await staying == 2


async def test_an_estimate_that_does_not_come_in_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = a_photo("a", priority=Priority.VIEWED)
    async with a_resolver(a_listing(photo), clock=lambda: NOW, serve_wait_seconds=0) as resolver:
        monkeypatch.setattr(resolver.throughputs, "get", SlowThroughputs().get)
        async with asyncio.timeout(20):
            answer = await resolver.http.get(f"/api/images/serve?id={photo.id}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(("measured", "expected"), [(0.5, 60), (None, 5)])
async def test_a_photo_that_is_not_ready_has_a_retry_after_by_its_place_in_the_queue(
    monkeypatch: pytest.MonkeyPatch, measured: float | None, expected: int
) -> None:
    viewed = [a_photo(f"p{number}", priority=Priority.VIEWED, not_before=after(-60)) for number in range(30)]
    photo = a_photo("mine", key="X2", priority=Priority.VIEWED)
    listings = (a_listing(*viewed), a_listing(photo, key="X2"))
    async with a_resolver(*listings, clock=lambda: NOW, serve_wait_seconds=0) as resolver:
        if measured:
            await resolver.throughputs.put(FEED, Throughput(NOW, measured))
        queries, ahead_of = 0, resolver.listings.ahead_of

        async def counted(*query: Any) -> int:
            nonlocal queries
            queries += 1
            return await ahead_of(*query)

        monkeypatch.setattr(resolver.listings, "ahead_of", counted)
        requests = (resolver.http.get(f"/api/images/serve?id={photo.id}") for _ in range(50))
        answers = await asyncio.gather(*requests)
        assert {(answer.status, int(answer.headers["Retry-After"])) for answer in answers} == {(503, expected)}
        assert queries <= 2, "one estimate a second serves all clients"
