"""Tests which photos are claimed when grants are few, and others claim or change the same photos."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import replace
from typing import Any

import pytest

from services.downloader import feed_handler
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import Claim
from shared.domain.listing import Listing
from shared.origin_budget import codec
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.downloads import DownloadBatch
from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import to_moment
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from tests.builders import FEED, NOW, a_feed, a_listing, a_photo, after
from tests.downloading import HandlerRun, a_handler_run, until


@pytest.fixture
def feed() -> Feed:
    """A feed without limits of rate."""
    return a_feed(requests_per_second=0.0, batch_pause_seconds=0.0)


@pytest.fixture
async def run(feed: Feed) -> AsyncIterator[HandlerRun]:
    async with a_handler_run(feed) as running:
        yield running


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, concurrency=2)])
async def test_photos_wait_for_grants_that_come_a_moment_later(run: HandlerRun) -> None:
    photos = [f"p{number}" for number in range(6)]
    await run.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    run.downloads.finish(*photos)
    await run.request("X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)))
    assert sorted(run.downloads.started) == photos


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=1.0, batch_size=1, batch_pause_seconds=0.0)])
async def test_a_viewed_photo_is_taken_over_from_the_routine_photos_that_wait_for_grants(run: HandlerRun) -> None:
    photos = [f"p{number}" for number in range(6)]
    await run.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    run.downloads.finish(*photos)
    routine = run.request("X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)), priority="routine")
    await until(lambda: run.downloads.started == ["p0"])
    await run.request("X3", "p5", priority="viewed")
    assert run.downloads.started.index("p5") <= 3, "of six a second apart"
    await routine
    assert sorted(run.downloads.started) == photos, "each once"


async def test_a_viewed_photo_is_not_taken_over_while_its_claim_is_being_written(
    run: HandlerRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written, answered = run.listings.write, asyncio.Event(), asyncio.Event()

    async def slow(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(run.listings, "write", write)
        refused = await write(listings)
        written.set()
        await answered.wait()
        return refused

    monkeypatch.setattr(run.listings, "write", slow)
    routine = run.request("X1", "a", priority="routine")
    await written.wait()
    viewed = run.request("X1", "a", priority="viewed")
    await asyncio.sleep(0.05)
    answered.set()
    run.downloads.finish("a")
    await asyncio.gather(routine, viewed)
    assert run.downloads.started == ["a"], "downloaded once, whoever requests it"


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, concurrency=1)])
async def test_photos_without_a_grant_in_time_are_deferred(run: HandlerRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_handler, "_MAX_BUDGET_WAIT_SECONDS", 0.3)
    run.request("X1", "a", "X2", "b")
    await until(lambda: run.downloads.started == ["a"])
    async with asyncio.timeout(20):
        while (waiting := await run.photo("X2")).not_before <= NOW:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert (waiting.released_at, waiting.claim) == (None, None)
    assert run.downloads.started == ["a"]


async def test_a_grant_is_used_even_if_the_listing_changes_before_the_claim(
    run: HandlerRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, taken = run.listings.write, list[int]()

    async def disturbed(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(run.listings, "write", write)
        listing = await run.listings.get(FEED, "X1")
        assert listing is not None
        await write([replace(listing, city="Elsewhere")])
        return await write(listings)

    async def counted(budget: OriginBudget, feed: Feed, wanted: int, *terms: Any, **more: Any) -> DownloadBatch:
        taken.append(wanted)
        return await take(budget, feed, wanted, *terms, **more)

    take = OriginBudget.take
    monkeypatch.setattr(OriginBudget, "take", counted)
    monkeypatch.setattr(run.listings, "write", disturbed)
    run.downloads.finish("a")
    await run.request("X1", "a")
    assert (run.downloads.started, taken) == (["a"], [1])


async def test_a_photo_that_becomes_available_later_does_not_get_the_grant_of_another(
    run: HandlerRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [a_photo(name, key="X3") for name in ("c", "a", "b")]
    of_another = replace(photos[0], claim=Claim(worker="another", until=after(80)), not_before=after(80))
    await run.listings.write([a_listing(of_another, *photos[1:], key="X3")])
    write = run.listings.write

    async def disturbed(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(run.listings, "write", write)
        listing = await run.listings.get(FEED, "X3")
        assert listing is not None
        await write([listing.with_photos([lifecycle.release(photos[0], NOW)])])
        return await write(listings)

    monkeypatch.setattr(run.listings, "write", disturbed)
    run.downloads.finish("a", "b", "c")
    await run.request("X3", "c", "X3", "a", "X3", "b")
    assert {"a", "b"} <= set(run.downloads.started)


async def test_a_photo_that_another_worker_claims_first_is_left_to_that_worker(
    run: HandlerRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, claim = run.listings.write, Claim(worker="another", until=after(80))

    async def disturbed(listings: Iterable[Listing]) -> Collection[ListingId]:
        monkeypatch.setattr(run.listings, "write", write)
        listing = await run.listings.get(FEED, "X1")
        assert listing is not None
        await write([listing.with_photos([replace(listing.photos[0], claim=claim, not_before=after(80))])])
        return await write(listings)

    monkeypatch.setattr(run.listings, "write", disturbed)
    run.downloads.finish("a")
    await run.request("X1", "a")
    assert (run.downloads.started, (await run.photo("X1")).claim) == ([], claim)


async def test_a_listing_that_changes_before_each_attempt_to_claim_raises_contention(
    run: HandlerRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(listings: Iterable[Listing]) -> Collection[ListingId]:
        return {(listing.feed, listing.key) for listing in listings}

    monkeypatch.setattr(run.listings, "write", never)
    with pytest.raises(Contention, match="changed"):
        await run.request("X1", "a")


async def failed_before(run: HandlerRun, key: str) -> None:
    listing = await run.listings.get(FEED, key)
    assert listing is not None
    failed = replace(listing.photos[0], failure=Failure(Reason.TIMEOUT), attempts=1)
    await run.listings.write([listing.with_photos([failed])])


@pytest.mark.parametrize("together", [True, False])
async def test_a_breakers_probe_is_a_photo_that_has_not_failed_before(run: HandlerRun, together: bool) -> None:
    now = to_moment((await run.ledgers.get(FEED)).now)
    unwell = Ledger(breaker=Breaker(Reason.UNREACHABLE, 2.0, now))
    await run.ledgers.replace(FEED, codec.to_document(unwell), 0)
    await failed_before(run, "X1")
    if together:
        run.request("X1", "a", "X2", "b")
    else:
        run.request("X1", "a")
        await until(lambda: bool(run.handler._in_flight.image_ids()))  # it waits for the budget
        run.request("X2", "b")
    await until(lambda: bool(run.downloads.started))
    assert run.downloads.started == ["b"]
