"""Tests the handling of batches where timing matters: races of photos, listings, subscriptions and servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.downloader import feed_handler
from services.downloader.answers import NotModified
from services.downloader.handle import Handler, Parts
from services.downloader.outcomes import Downloaded, Outcome
from services.downloader.permit import Permit
from shared.dead_letters import DeadLetters
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import Claim, Photo
from shared.domain.listing import Listing
from shared.events.records import Record
from shared.kafka import Broker, Outgoing
from shared.origin_budget import codec
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.downloads import Batch
from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import to_moment
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.memory import MemoryAttempts, MemoryLedgers, MemoryListings
from tests.builders import FEED, NOW, a_copy, a_feed, a_listing, a_photo, after


class FakeBroker(Broker):
    """Accepts all records, and keeps none."""

    async def publish(self, records: Iterable[Outgoing]) -> None:
        list(records)


@dataclass
class FakeDownloads:
    """Downloads that go on until the test calls `finish` for their photo, and then succeed, fail or raise.

    `started` has the photos' object ids in the order in which their downloads started.
    """

    started: list[str] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    error: Exception | None = None
    failure: Failure | None = None
    is_storage_unavailable: bool = False

    async def download(self, feed: Feed, listing_key: str, photo: Photo, permit: Permit) -> Outcome:
        assert await permit.wait_for_request() is None
        self.started.append(photo.object_id)
        permit.count_received(1_000)
        await self.gates.setdefault(photo.object_id, asyncio.Event()).wait()
        await permit.report_answer(self.failure or NotModified(None, None))
        if self.error:
            raise self.error
        if self.failure:
            return self.failure
        return Downloaded(a_copy(photo.object_id, key=listing_key))

    async def ping_storage(self) -> None:
        if self.is_storage_unavailable:
            raise StoreUnavailable("unavailable")

    def finish(self, *photos: str) -> None:
        for photo in photos:
            self.gates.setdefault(photo, asyncio.Event()).set()


@dataclass
class System:
    """A handler with stores in memory, which hold the listings X1 with photo `a`, and X2 with photo `b`."""

    downloads: FakeDownloads
    listings: MemoryListings
    ledgers: MemoryLedgers
    handler: Handler
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def request(self, key: str, photo: str, *more: str, feed: str = FEED, priority: str = "") -> asyncio.Task[None]:
        """Start to handle a batch that requests photos, each given by its listing's key and its object id."""
        names = [(key, photo), *zip(more[::2], more[1::2], strict=True)]
        data = [
            {
                "feed": feed,
                "listing_key": key,
                "image_id": a_photo(photo, key=key, feed=feed).id,
                "priority": priority or "viewed",
            }
            for key, photo in names
        ]
        values = [json.dumps({"type": "image-outdated.v1", "data": fields}).encode() for fields in data]
        records = [Record("image-outdated", 0, 0, NOW, None, value) for value in values]
        handle = self.handler.handle_viewed if priority == "viewed" else self.handler.handle
        self.tasks.append(asyncio.create_task(handle(records)))
        return self.tasks[-1]

    async def photo(self, key: str) -> Photo:
        listing = await self.listings.get(FEED, key)
        assert listing is not None
        return listing.photos[0]


@pytest.fixture
def feed() -> Feed:
    """A feed without limits of rate."""
    return a_feed(requests_per_second=0.0, batch_pause_seconds=0.0)


@pytest.fixture
async def system(feed: Feed) -> AsyncIterator[System]:
    renderer, broker, downloads, registry = (
        Renderer("http://x"),
        FakeBroker("nowhere"),
        FakeDownloads(),
        CollectorRegistry(),
    )
    listings, ledgers = MemoryListings(renderer), MemoryLedgers()
    feeds = {FEED: feed, "other": replace(feed, name="other")}
    parts = Parts(
        listings=listings,
        attempts=MemoryAttempts(),
        publisher=Publisher(broker, "", "downloader", lambda: after(9)),
        renderer=renderer,
        dead_letters=DeadLetters(broker, "", "downloader", lambda: after(9), registry),
        budget=OriginBudget(ledgers, "w"),
        download=downloads.download,
        ping_storage=downloads.ping_storage,
        feeds=feeds,
        superseded_for=timedelta(hours=1),
        worker="w",
        clock=lambda: after(9),
        registry=registry,
    )
    await listings.write([a_listing(a_photo("a", key="X1"), key="X1"), a_listing(a_photo("b", key="X2"), key="X2")])
    system = System(downloads, listings, ledgers, Handler(parts))
    yield system
    for task in system.tasks:
        task.cancel()
        with suppress(asyncio.CancelledError, StoreUnavailable, Contention):
            await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true, 5 seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.005)


async def test_a_photo_that_is_due_again_is_attempted_while_others_of_its_batch_are_in_flight(system: System) -> None:
    system.request("X1", "a", "X2", "b")
    await until(lambda: set(system.downloads.started) == {"a", "b"})
    listing = await system.listings.get(FEED, "X1")
    assert listing is not None
    await system.listings.write([listing.with_photos([replace(listing.photos[0], announced_at=after(5))])])
    system.downloads.finish("a")
    async with asyncio.timeout(5):
        while (await system.photo("X1")).copy is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    system.request("X1", "a")
    await until(lambda: system.downloads.started.count("a") == 2)


async def test_a_photo_that_is_due_again_is_attempted_while_another_of_its_listing_is_in_flight(system: System) -> None:
    await system.listings.write([a_listing(a_photo("a", key="X3"), a_photo("b", key="X3"), key="X3")])
    system.request("X3", "a", "X3", "b")
    await until(lambda: set(system.downloads.started) == {"a", "b"})
    listing = await system.listings.get(FEED, "X3")
    assert listing is not None
    await system.listings.write([listing.with_photos([replace(listing.photos[0], announced_at=after(5))])])
    system.downloads.finish("a")
    async with asyncio.timeout(5):
        while (await system.photo("X3")).copy is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    system.request("X3", "a")
    await until(lambda: system.downloads.started.count("a") == 2)


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, concurrency=2)])
async def test_photos_wait_for_grants_that_come_a_moment_later(system: System) -> None:
    photos = [f"p{number}" for number in range(6)]
    await system.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    system.downloads.finish(*photos)
    await system.request("X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)))
    assert sorted(system.downloads.started) == photos


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=1.0, batch_size=1, batch_pause_seconds=0.0)])
async def test_a_viewed_photo_is_taken_over_from_the_routine_photos_that_wait_for_grants(system: System) -> None:
    photos = [f"p{number}" for number in range(6)]
    await system.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    system.downloads.finish(*photos)
    routine = system.request(
        "X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)), priority="routine"
    )
    await until(lambda: system.downloads.started == ["p0"])
    await system.request("X3", "p5", priority="viewed")
    assert system.downloads.started.index("p5") <= 3, "of six a second apart"
    await routine
    assert sorted(system.downloads.started) == photos, "each once"


async def test_a_viewed_photo_is_not_taken_over_while_its_claim_is_being_written(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written, answered = system.listings.write, asyncio.Event(), asyncio.Event()

    async def slow(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(system.listings, "write", write)
        refused = await write(listings)
        written.set()
        await answered.wait()
        return refused

    monkeypatch.setattr(system.listings, "write", slow)
    routine = system.request("X1", "a", priority="routine")
    await written.wait()
    viewed = system.request("X1", "a", priority="viewed")
    await asyncio.sleep(0.05)
    answered.set()
    system.downloads.finish("a")
    await asyncio.gather(routine, viewed)
    assert system.downloads.started == ["a"], "downloaded once, whoever requests it"


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, concurrency=1)])
async def test_photos_without_a_grant_in_time_are_deferred(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_handler, "_MAX_BUDGET_WAIT_SECONDS", 0.3)
    system.request("X1", "a", "X2", "b")
    await until(lambda: system.downloads.started == ["a"])
    async with asyncio.timeout(5):
        while (waiting := await system.photo("X2")).not_before <= NOW:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert (waiting.released_at, waiting.claim) == (None, None)
    assert system.downloads.started == ["a"]


async def test_a_grant_is_used_even_if_the_listing_changes_before_the_claim(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, taken = system.listings.write, list[int]()

    async def disturbed(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(system.listings, "write", write)
        listing = await system.listings.get(FEED, "X1")
        assert listing is not None
        await write([replace(listing, city="Elsewhere")])
        return await write(listings)

    async def counted(budget: OriginBudget, feed: Feed, wanted: int, *terms: Any, **more: Any) -> Batch:
        taken.append(wanted)
        return await take(budget, feed, wanted, *terms, **more)

    take = OriginBudget.take
    monkeypatch.setattr(OriginBudget, "take", counted)
    monkeypatch.setattr(system.listings, "write", disturbed)
    system.downloads.finish("a")
    await system.request("X1", "a")
    assert (system.downloads.started, taken) == (["a"], [1])


async def test_a_photo_that_becomes_available_later_does_not_get_the_grant_of_another(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [a_photo(name, key="X3") for name in ("c", "a", "b")]
    of_another = replace(photos[0], claim=Claim(worker="another", until=after(80)), not_before=after(80))
    await system.listings.write([a_listing(of_another, *photos[1:], key="X3")])
    write = system.listings.write

    async def disturbed(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(system.listings, "write", write)
        listing = await system.listings.get(FEED, "X3")
        assert listing is not None
        await write([listing.with_photos([lifecycle.release(photos[0], NOW)])])
        return await write(listings)

    monkeypatch.setattr(system.listings, "write", disturbed)
    system.downloads.finish("a", "b", "c")
    await system.request("X3", "c", "X3", "a", "X3", "b")
    assert {"a", "b"} <= set(system.downloads.started)


async def test_a_photo_that_another_worker_claims_first_is_left_to_that_worker(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, claim = system.listings.write, Claim(worker="another", until=after(80))

    async def disturbed(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(system.listings, "write", write)
        listing = await system.listings.get(FEED, "X1")
        assert listing is not None
        await write([listing.with_photos([replace(listing.photos[0], claim=claim, not_before=after(80))])])
        return await write(listings)

    monkeypatch.setattr(system.listings, "write", disturbed)
    system.downloads.finish("a")
    await system.request("X1", "a")
    assert (system.downloads.started, (await system.photo("X1")).claim) == ([], claim)


async def test_a_listing_that_changes_before_each_attempt_to_claim_raises_contention(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(listings: Iterable[Listing]) -> Collection[ListingId]:
        return {(listing.feed, listing.key) for listing in listings}

    monkeypatch.setattr(system.listings, "write", never)
    with pytest.raises(Contention, match="changed"):
        await system.request("X1", "a")


async def test_a_slow_feed_does_not_delay_other_feeds(system: System) -> None:
    await system.listings.write([a_listing(a_photo("c", key="Y", feed="other"), key="Y", feed="other")])
    for number in range(30):
        name = f"s{number}"
        await system.listings.write([a_listing(a_photo(name, key=name), key=name)])
        system.request(name, name)
    await until(lambda: len(system.downloads.started) > 2)
    system.downloads.finish("c")
    await asyncio.wait_for(system.request("Y", "c", feed="other"), 5)


async def test_a_photo_is_downloaded_once_however_often_it_is_requested(system: System) -> None:
    for _ in range(5):
        system.request("X1", "a", "X1", "a")
    await until(lambda: bool(system.downloads.started))
    system.downloads.finish("a")
    await asyncio.gather(*system.tasks)
    assert system.downloads.started == ["a"]


async def test_a_download_that_is_cut_off_is_due_at_once_without_claim_or_slot(system: System) -> None:
    task = system.request("X1", "a")
    await until(lambda: bool(system.downloads.started))
    system.handler.cut_off()
    await task
    photo = await system.photo("X1")
    assert (photo.claim, photo.due_at, photo.attempts) == (None, after(9), 0)
    assert (await system.ledgers.get(FEED)).ledger.slots == {}
    await system.request("X2", "b")
    assert system.downloads.started == ["a"], "no other download starts"


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, bytes_per_hour=10**9)])
async def test_received_bytes_are_charged_even_if_the_download_fails_or_is_cut_off(system: System) -> None:
    async def charged() -> int:
        return sum(size for _, size in (await system.ledgers.get(FEED)).ledger.hour_bytes)

    system.downloads.failure = Failure(Reason.BROKEN_BODY)
    system.downloads.finish("a")
    await system.request("X1", "a")
    assert ((await system.photo("X1")).failure, await charged()) == (system.downloads.failure, 1_000)
    task = system.request("X2", "b")
    await until(lambda: "b" in system.downloads.started)
    system.handler.cut_off()
    await task
    assert await charged() == 2_000


async def test_enough_photos_that_fail_in_a_row_open_the_breaker(system: System) -> None:
    photos = [f"p{number}" for number in range(8)]
    await system.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    system.downloads.failure = Failure(Reason.TIMEOUT)
    system.downloads.finish(*photos)
    await system.request("X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)))
    assert (await system.ledgers.get(FEED)).ledger.breaker


async def failed_before(system: System, key: str) -> None:
    listing = await system.listings.get(FEED, key)
    assert listing is not None
    failed = replace(listing.photos[0], failure=Failure(Reason.TIMEOUT), attempts=1)
    await system.listings.write([listing.with_photos([failed])])


@pytest.mark.parametrize("together", [True, False])
async def test_a_breakers_probe_is_a_photo_that_has_not_failed_before(system: System, together: bool) -> None:
    now = to_moment((await system.ledgers.get(FEED)).now)
    unwell = Ledger(breaker=Breaker(Reason.UNREACHABLE, 2.0, now))
    await system.ledgers.replace(FEED, codec.to_document(unwell), 0)
    await failed_before(system, "X1")
    if together:
        system.request("X1", "a", "X2", "b")
    else:
        system.request("X1", "a")
        await until(lambda: bool(system.handler._in_flight.all()))  # it waits for the budget
        system.request("X2", "b")
    await until(lambda: bool(system.downloads.started))
    assert system.downloads.started == ["b"]


async def test_while_storage_is_unavailable_no_origin_is_asked(system: System) -> None:
    system.downloads.error, system.downloads.is_storage_unavailable = StoreUnavailable("unavailable"), True
    system.downloads.finish("a", "b")
    await system.request("X1", "a")
    photo = await system.photo("X1")
    assert (photo.claim, photo.attempts, photo.due_at) == (None, 0, after(19))
    with pytest.raises(StoreUnavailable):
        await system.request("X2", "b")
    assert system.downloads.started == ["a"]
    system.downloads.error, system.downloads.is_storage_unavailable = None, False
    await system.request("X2", "b")
    assert (await system.photo("X2")).copy is not None


async def test_a_restarted_worker_defers_the_photos_of_its_earlier_run_and_not_those_in_flight(system: System) -> None:
    listing = await system.listings.get(FEED, "X2")
    assert listing is not None
    system.request("X1", "a")
    await until(lambda: bool(system.downloads.started))
    claim = (await system.photo("X1")).claim
    assert claim is not None
    await system.listings.write([listing.with_photos([replace(listing.photos[0], claim=claim, released_at=NOW)])])
    await system.handler.resume()
    assert ((await system.photo("X1")).claim, (await system.photo("X2")).claim) == (claim, None)
    assert (await system.photo("X2")).due_at == after(9)
