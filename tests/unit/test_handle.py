"""The story of a batch where timing matters: its photos, its listings and its servers do not wait for each other."""

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


class Deaf(Broker):
    """Takes everything."""

    async def publish(self, records: Iterable[Outgoing]) -> None:
        list(records)


@dataclass
class Studio:
    """Downloads that end when told; `begun` counts them by photo."""

    begun: list[str] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    fault: Exception | None = None
    failure: Failure | None = None
    is_storage_away: bool = False

    async def download(self, feed: Feed, listing_key: str, photo: Photo, permit: Permit) -> Outcome:
        assert await permit.wait_for_request() is None
        self.begun.append(photo.object_id)
        permit.count_received(1_000)
        await self.gates.setdefault(photo.object_id, asyncio.Event()).wait()
        await permit.report_answer(self.failure or NotModified(None, None))
        if self.fault:
            raise self.fault
        if self.failure:
            return self.failure
        return Downloaded(a_copy(photo.object_id, key=listing_key))

    async def storage_answers(self) -> None:
        if self.is_storage_away:
            raise StoreUnavailable("away")

    def end(self, *photos: str) -> None:
        for photo in photos:
            self.gates.setdefault(photo, asyncio.Event()).set()


@dataclass
class Work:
    """A handler on stores in memory, with listings X1 of photo `a` and X2 of photo `b`."""

    studio: Studio
    listings: MemoryListings
    ledgers: MemoryLedgers
    handler: Handler
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def ask(self, key: str, photo: str, *more: str, feed: str = FEED, priority: str = "") -> asyncio.Task[None]:
        """Hand over a batch: photos by their listing's key and name."""
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
        values = [json.dumps({"type": "image-outdated.v1", "data": one}).encode() for one in data]
        records = [Record("image-outdated", 0, 0, NOW, None, value) for value in values]
        work = self.handler.handle_viewed if priority == "viewed" else self.handler.handle
        self.tasks.append(asyncio.create_task(work(records)))
        return self.tasks[-1]

    async def photo(self, key: str) -> Photo:
        listing = await self.listings.get(FEED, key)
        assert listing is not None
        return listing.photos[0]


@pytest.fixture
def feed() -> Feed:
    """A feed that may be asked as fast as one likes."""
    return a_feed(requests_per_second=0.0, batch_pause_seconds=0.0)


@pytest.fixture
async def work(feed: Feed) -> AsyncIterator[Work]:
    renderer, broker, studio, registry = Renderer("http://x"), Deaf("nowhere"), Studio(), CollectorRegistry()
    listings, ledgers = MemoryListings(renderer), MemoryLedgers()
    feeds = {FEED: feed, "other": replace(feed, name="other")}
    parts = Parts(
        listings=listings,
        attempts=MemoryAttempts(),
        publisher=Publisher(broker, "", "downloader", lambda: after(9)),
        renderer=renderer,
        dead_letters=DeadLetters(broker, "", "downloader", lambda: after(9), registry),
        budget=OriginBudget(ledgers, "w"),
        download=studio.download,
        ping_storage=studio.storage_answers,
        feeds=feeds,
        superseded_for=timedelta(hours=1),
        worker="w",
        clock=lambda: after(9),
        registry=registry,
    )
    await listings.write([a_listing(a_photo("a", key="X1"), key="X1"), a_listing(a_photo("b", key="X2"), key="X2")])
    found = Work(studio, listings, ledgers, Handler(parts))
    yield found
    for task in found.tasks:
        task.cancel()
        with suppress(asyncio.CancelledError, StoreUnavailable, Contention):
            await task


async def come(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.005)


async def test_a_photo_that_is_due_again_is_taken_while_others_of_its_batch_are_under_way(work: Work) -> None:
    work.ask("X1", "a", "X2", "b")
    await come(lambda: set(work.studio.begun) == {"a", "b"})
    listing = await work.listings.get(FEED, "X1")
    assert listing is not None
    await work.listings.write([listing.with_photos([replace(listing.photos[0], announced_at=after(5))])])
    work.studio.end("a")
    async with asyncio.timeout(5):
        while (await work.photo("X1")).copy is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    work.ask("X1", "a")
    await come(lambda: work.studio.begun.count("a") == 2)


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, concurrency=2)])
async def test_what_the_budget_grants_a_moment_later_is_waited_for_in_hand(work: Work) -> None:
    photos = [f"p{number}" for number in range(6)]
    await work.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    work.studio.end(*photos)
    await work.ask("X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)))
    assert sorted(work.studio.begun) == photos


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=1.0, batch_size=1, batch_pause_seconds=0.0)])
async def test_a_view_passes_those_that_wait_in_hand_though_the_photo_is_one_of_them(work: Work) -> None:
    photos = [f"p{number}" for number in range(6)]
    await work.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    work.studio.end(*photos)
    routine = work.ask("X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)), priority="routine")
    await come(lambda: work.studio.begun == ["p0"])
    await work.ask("X3", "p5", priority="viewed")
    assert work.studio.begun.index("p5") <= 3, "of six a second apart"
    await routine
    assert sorted(work.studio.begun) == photos, "each once"


async def test_a_view_takes_no_photo_whose_claim_is_being_written(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written, answered = work.listings.write, asyncio.Event(), asyncio.Event()

    async def slow(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(work.listings, "write", write)
        refused = await write(listings)
        written.set()
        await answered.wait()
        return refused

    monkeypatch.setattr(work.listings, "write", slow)
    routine = work.ask("X1", "a", priority="routine")
    await written.wait()
    viewed = work.ask("X1", "a", priority="viewed")
    await asyncio.sleep(0.05)
    answered.set()
    work.studio.end("a")
    await asyncio.gather(routine, viewed)
    assert work.studio.begun == ["a"], "asked for once, whoever wants it"


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, concurrency=1)])
async def test_what_the_budget_does_not_grant_in_time_is_put_back(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_handler, "_MAX_BUDGET_WAIT_SECONDS", 0.3)
    work.ask("X1", "a", "X2", "b")
    await come(lambda: work.studio.begun == ["a"])
    async with asyncio.timeout(5):
        while (waiting := await work.photo("X2")).not_before <= NOW:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert (waiting.released_at, waiting.claim) == (None, None)
    assert work.studio.begun == ["a"]


async def test_what_was_granted_is_used_though_the_listing_changed_meanwhile(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, taken = work.listings.write, list[int]()

    async def disturbed(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(work.listings, "write", write)
        listing = await work.listings.get(FEED, "X1")
        assert listing is not None
        await write([replace(listing, city="Elsewhere")])
        return await write(listings)

    async def counted(budget: OriginBudget, feed: Feed, wanted: int, *terms: Any, **more: Any) -> Batch:
        taken.append(wanted)
        return await take(budget, feed, wanted, *terms, **more)

    take = OriginBudget.take
    monkeypatch.setattr(OriginBudget, "take", counted)
    monkeypatch.setattr(work.listings, "write", disturbed)
    work.studio.end("a")
    await work.ask("X1", "a")
    assert (work.studio.begun, taken) == (["a"], [1])


async def test_a_photo_is_not_forgotten_where_another_that_came_free_meanwhile_has_its_grant(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [a_photo(name, key="X3") for name in ("c", "a", "b")]
    of_another = replace(photos[0], claim=Claim(worker="another", until=after(80)), not_before=after(80))
    await work.listings.write([a_listing(of_another, *photos[1:], key="X3")])
    write = work.listings.write

    async def disturbed(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(work.listings, "write", write)
        listing = await work.listings.get(FEED, "X3")
        assert listing is not None
        await write([listing.with_photos([lifecycle.release(photos[0], NOW)])])
        return await write(listings)

    monkeypatch.setattr(work.listings, "write", disturbed)
    work.studio.end("a", "b", "c")
    await work.ask("X3", "c", "X3", "a", "X3", "b")
    assert {"a", "b"} <= set(work.studio.begun)


async def test_a_listing_that_changes_under_every_attempt_is_tried_again_from_the_beginning(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(listings: Iterable[Listing]) -> Collection[ListingId]:
        return {(one.feed, one.key) for one in listings}

    monkeypatch.setattr(work.listings, "write", never)
    with pytest.raises(Contention, match="changed"):
        await work.ask("X1", "a")


async def test_a_feed_that_is_slow_holds_up_no_other(work: Work) -> None:
    await work.listings.write([a_listing(a_photo("c", key="Y", feed="other"), key="Y", feed="other")])
    for number in range(30):
        name = f"s{number}"
        await work.listings.write([a_listing(a_photo(name, key=name), key=name)])
        work.ask(name, name)
    await come(lambda: len(work.studio.begun) > 2)
    work.studio.end("c")
    await asyncio.wait_for(work.ask("Y", "c", feed="other"), 5)


async def test_a_photo_is_downloaded_once_however_often_it_is_asked_for(work: Work) -> None:
    for _ in range(5):
        work.ask("X1", "a", "X1", "a")
    await come(lambda: bool(work.studio.begun))
    work.studio.end("a")
    await asyncio.gather(*work.tasks)
    assert work.studio.begun == ["a"]


async def test_what_is_cut_off_is_due_at_once_and_holds_neither_claim_nor_slot(work: Work) -> None:
    task = work.ask("X1", "a")
    await come(lambda: bool(work.studio.begun))
    work.handler.cut_off()
    await task
    photo = await work.photo("X1")
    assert (photo.claim, photo.due_at, photo.attempts) == (None, after(9), 0)
    assert (await work.ledgers.get(FEED)).ledger.slots == {}
    await work.ask("X2", "b")
    assert work.studio.begun == ["a"], "nothing more is begun"


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, bytes_per_hour=10**9)])
async def test_what_was_received_is_charged_though_the_download_failed_or_was_cut_off(work: Work) -> None:
    async def charged() -> int:
        return sum(size for _, size in (await work.ledgers.get(FEED)).ledger.hour_bytes)

    work.studio.failure = Failure(Reason.BROKEN_BODY)
    work.studio.end("a")
    await work.ask("X1", "a")
    assert ((await work.photo("X1")).failure, await charged()) == (work.studio.failure, 1_000)
    task = work.ask("X2", "b")
    await come(lambda: "b" in work.studio.begun)
    work.handler.cut_off()
    await task
    assert await charged() == 2_000


async def test_photos_that_fail_one_after_the_other_open_the_breaker_by_their_number(work: Work) -> None:
    photos = [f"p{number}" for number in range(8)]
    await work.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    work.studio.failure = Failure(Reason.TIMEOUT)
    work.studio.end(*photos)
    await work.ask("X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)))
    assert (await work.ledgers.get(FEED)).ledger.breaker


async def failed_before(work: Work, key: str) -> None:
    listing = await work.listings.get(FEED, key)
    assert listing is not None
    failed = replace(listing.photos[0], failure=Failure(Reason.TIMEOUT), attempts=1)
    await work.listings.write([listing.with_photos([failed])])


@pytest.mark.parametrize("together", [True, False])
async def test_an_unwell_origin_is_probed_with_a_photo_that_did_not_fail_before(work: Work, together: bool) -> None:
    now = to_moment((await work.ledgers.get(FEED)).now)
    unwell = Ledger(breaker=Breaker(Reason.UNREACHABLE, 2.0, now))
    await work.ledgers.replace(FEED, codec.to_document(unwell), 0)
    await failed_before(work, "X1")
    if together:
        work.ask("X1", "a", "X2", "b")
    else:
        work.ask("X1", "a")
        await come(lambda: bool(work.handler._in_flight.all()))  # it asks the budget
        work.ask("X2", "b")
    await come(lambda: bool(work.studio.begun))
    assert work.studio.begun == ["b"]


async def test_while_storage_is_away_no_origin_is_asked(work: Work) -> None:
    work.studio.fault, work.studio.is_storage_away = StoreUnavailable("away"), True
    work.studio.end("a", "b")
    await work.ask("X1", "a")
    photo = await work.photo("X1")
    assert (photo.claim, photo.attempts, photo.due_at) == (None, 0, after(19))
    with pytest.raises(StoreUnavailable):
        await work.ask("X2", "b")
    assert work.studio.begun == ["a"]
    work.studio.fault, work.studio.is_storage_away = None, False
    await work.ask("X2", "b")
    assert (await work.photo("X2")).copy is not None


async def test_a_worker_puts_back_what_its_earlier_life_had_in_hand_and_not_what_it_has_now(work: Work) -> None:
    listing = await work.listings.get(FEED, "X2")
    assert listing is not None
    work.ask("X1", "a")
    await come(lambda: bool(work.studio.begun))
    claim = (await work.photo("X1")).claim
    assert claim is not None
    await work.listings.write([listing.with_photos([replace(listing.photos[0], claim=claim, released_at=NOW)])])
    await work.handler.resume()
    assert ((await work.photo("X1")).claim, (await work.photo("X2")).claim) == (claim, None)
    assert (await work.photo("X2")).due_at == after(9)
