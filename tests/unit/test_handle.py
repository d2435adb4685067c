"""Tests the handling of batches where timing matters: races of photos, listings, feeds and servers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import Claim
from shared.domain.listing import Listing
from shared.stores.errors import Contention, StoreUnavailable
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


async def test_a_photo_that_is_due_again_is_attempted_while_others_of_its_batch_are_in_flight(run: HandlerRun) -> None:
    run.request("X1", "a", "X2", "b")
    await until(lambda: set(run.downloads.started) == {"a", "b"})
    listing = await run.listings.get(FEED, "X1")
    assert listing is not None
    await run.listings.write([listing.with_photos([replace(listing.photos[0], announced_at=after(5))])])
    run.downloads.finish("a")
    async with asyncio.timeout(20):
        while (await run.photo("X1")).copy is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    run.request("X1", "a")
    await until(lambda: run.downloads.started.count("a") == 2)


async def test_a_photo_due_again_is_attempted_while_another_of_its_listing_is_in_flight(
    run: HandlerRun,
) -> None:
    await run.listings.write([a_listing(a_photo("a", key="X3"), a_photo("b", key="X3"), key="X3")])
    run.request("X3", "a", "X3", "b")
    await until(lambda: set(run.downloads.started) == {"a", "b"})
    listing = await run.listings.get(FEED, "X3")
    assert listing is not None
    await run.listings.write([listing.with_photos([replace(listing.photos[0], announced_at=after(5))])])
    run.downloads.finish("a")
    async with asyncio.timeout(20):
        while (await run.photo("X3")).copy is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    run.request("X3", "a")
    await until(lambda: run.downloads.started.count("a") == 2)


async def test_a_slow_feed_does_not_delay_other_feeds(run: HandlerRun) -> None:
    await run.listings.write([a_listing(a_photo("c", key="Y", feed="other"), key="Y", feed="other")])
    for number in range(30):
        name = f"s{number}"
        await run.listings.write([a_listing(a_photo(name, key=name), key=name)])
        run.request(name, name)
    await until(lambda: len(run.downloads.started) > 2)
    run.downloads.finish("c")
    await asyncio.wait_for(run.request("Y", "c", feed="other"), 20)


async def test_a_photo_is_downloaded_once_however_often_it_is_requested(run: HandlerRun) -> None:
    for _ in range(5):
        run.request("X1", "a", "X1", "a")
    await until(lambda: bool(run.downloads.started))
    run.downloads.finish("a")
    await asyncio.gather(*run.tasks)
    assert run.downloads.started == ["a"]


async def test_a_download_that_is_cut_off_is_due_at_once_without_claim_or_slot(run: HandlerRun) -> None:
    task = run.request("X1", "a")
    await until(lambda: bool(run.downloads.started))
    run.handler.cut_off()
    await task
    photo = await run.photo("X1")
    assert (photo.claim, photo.due_at, photo.attempts) == (None, after(9), 0)
    assert (await run.ledgers.get(FEED)).ledger.slots == {}
    await run.request("X2", "b")
    assert run.downloads.started == ["a"], "no other download starts"


@pytest.mark.parametrize("feed", [a_feed(requests_per_second=0.0, batch_pause_seconds=0.0, bytes_per_hour=10**9)])
async def test_received_bytes_are_charged_even_if_the_download_fails_or_is_cut_off(run: HandlerRun) -> None:
    async def charged() -> int:
        return sum(size for _, size in (await run.ledgers.get(FEED)).ledger.hour_bytes)

    run.downloads.failure = Failure(Reason.BROKEN_BODY)
    run.downloads.finish("a")
    await run.request("X1", "a")
    assert ((await run.photo("X1")).failure, await charged()) == (run.downloads.failure, 1_000)
    task = run.request("X2", "b")
    await until(lambda: "b" in run.downloads.started)
    run.handler.cut_off()
    await task
    assert await charged() == 2_000


async def test_enough_photos_that_fail_in_a_row_open_the_breaker(run: HandlerRun) -> None:
    photos = [f"p{number}" for number in range(8)]
    await run.listings.write([a_listing(*(a_photo(name, key="X3") for name in photos), key="X3")])
    run.downloads.failure = Failure(Reason.TIMEOUT)
    run.downloads.finish(*photos)
    await run.request("X3", photos[0], *(word for name in photos[1:] for word in ("X3", name)))
    assert (await run.ledgers.get(FEED)).ledger.breaker


async def test_while_storage_is_unavailable_no_origin_is_asked(run: HandlerRun) -> None:
    run.downloads.error, run.downloads.is_storage_unavailable = StoreUnavailable("unavailable"), True
    run.downloads.finish("a", "b")
    await run.request("X1", "a")
    photo = await run.photo("X1")
    assert (photo.claim, photo.attempts, photo.due_at) == (None, 0, after(19))
    with pytest.raises(StoreUnavailable):
        await run.request("X2", "b")
    assert run.downloads.started == ["a"]
    run.downloads.error, run.downloads.is_storage_unavailable = None, False
    await run.request("X2", "b")
    assert (await run.photo("X2")).copy is not None


async def test_a_photo_is_deferred_if_its_feeds_ledger_cannot_be_written_for_contention(run: HandlerRun) -> None:
    run.downloads.error = Contention("others wrote first")
    run.downloads.finish("a")
    await run.request("X1", "a")
    photo = await run.photo("X1")
    assert (photo.claim, photo.attempts, photo.due_at) == (None, 0, after(19))


async def test_a_restarted_worker_defers_the_photos_of_its_earlier_run_and_not_those_in_flight(run: HandlerRun) -> None:
    listing = await run.listings.get(FEED, "X2")
    assert listing is not None
    run.request("X1", "a")
    await until(lambda: bool(run.downloads.started))
    claim = (await run.photo("X1")).claim
    assert claim is not None
    await run.listings.write([listing.with_photos([replace(listing.photos[0], claim=claim, released_at=NOW)])])
    await run.handler.resume()
    assert ((await run.photo("X1")).claim, (await run.photo("X2")).claim) == (claim, None)
    assert (await run.photo("X2")).due_at == after(9)


async def test_a_restarted_worker_defers_its_photos_although_others_change_their_listing_meanwhile(
    run: HandlerRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = await run.listings.get(FEED, "X2")
    assert listing is not None
    claim = Claim(worker="w", until=after(80))
    await run.listings.write([listing.with_photos([replace(listing.photos[0], claim=claim, released_at=NOW)])])
    claimed_by = run.listings.claimed_by

    async def changed_after_reading(worker: str, limit: int) -> Sequence[Listing]:
        found = await claimed_by(worker, limit)
        await run.listings.write([replace(listing, modified_at=after(1)) for listing in found])
        return found

    monkeypatch.setattr(run.listings, "claimed_by", changed_after_reading)
    await run.handler.resume()
    assert (await run.photo("X2")).claim is None
