"""When is a due photo's turn? `imagectl explain` shows its place in the queue and an estimate."""

from dataclasses import replace
from datetime import datetime

import pytest

from ops import explain
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim
from shared.domain.priority import Priority
from shared.domain.throughput import Throughput
from shared.origin_budget.use import BudgetUse, SuspendedBy, Suspension
from shared.render import Renderer
from shared.stores.memory import MemoryListings, MemoryThroughputs
from tests.builders import FEED, NOW, a_downloaded_photo, a_feed, a_listing, a_photo, after

RENDERER = Renderer("https://cdn.example.com")
FREE = a_feed(requests_per_second=0.0, batch_pause_seconds=0.0)
UNUSED = BudgetUse(at=NOW, windows=(), running=0, slots=8, suspensions=())


@pytest.fixture
async def listings() -> MemoryListings:
    """A queue of forty popular photos, and then ten routine photos of the listing X1."""
    store = MemoryListings(RENDERER)
    popular = [a_photo(f"p{number}", key="P", priority=Priority.POPULAR) for number in range(40)]
    await store.write([a_listing(*popular, key="P"), a_listing(*(a_photo(f"{number}") for number in range(10)))])
    return store


async def test_a_due_photos_turn_has_a_place_and_an_estimate(listings: MemoryListings) -> None:
    throughputs, listing = MemoryThroughputs(), await listings.get(FEED, "X1")
    assert listing is not None
    await throughputs.put(FEED, Throughput(NOW, 4.0))
    turns = await explain.queue_positions(listings, throughputs, listing, FREE, UNUSED, NOW)
    assert set(turns.values()) == {explain.QueuePosition(40, after(10))}
    assert len(turns) == 10
    photo = listing.photos[0]
    explained = explain.explain_photo(listing, photo, [], FREE, RENDERER, NOW, turns[photo.id])
    assert (
        "40 photos are ahead of it in the queue; its turn is about 2026-11-23T09:00:10+00:00 (in 10 s)"
        in (explained.lines[1])
    )


async def test_without_a_measured_throughput_the_feeds_limits_give_the_estimate(listings: MemoryListings) -> None:
    listing = a_listing(a_photo("0", not_before=after(-1), priority=Priority.ROUTINE))
    for feed, about in ((a_feed(viewed_reserve=0.0), after(40 / 16)), (FREE, None)):
        turns = await explain.queue_positions(listings, MemoryThroughputs(), listing, feed, UNUSED, NOW)
        assert [turn.about for turn in turns.values()] == [about]


async def test_a_waiting_photo_has_no_turn_but_a_due_time(listings: MemoryListings) -> None:
    photo = a_photo("0", not_before=after(86_400), failure=Failure(Reason.GONE), attempts=6)
    listing = a_listing(photo)
    assert await explain.queue_positions(listings, MemoryThroughputs(), listing, FREE, UNUSED, NOW) == {}
    explained = explain.explain_photo(listing, photo, [], FREE, RENDERER, NOW).lines
    assert "tried again 2026-11-24T09:00:00+00:00 (in 24 h)" in explained[0]
    assert not any("in the queue" in line for line in explained)


async def test_downloaded_and_released_photos_have_no_turn(listings: MemoryListings) -> None:
    claimed = replace(a_photo("c"), claim=Claim(worker="w", until=after(60)))
    listing = a_listing(a_downloaded_photo("h"), lifecycle.release(a_photo("r"), NOW), claimed)
    assert await explain.queue_positions(listings, MemoryThroughputs(), listing, FREE, UNUSED, NOW) == {}


@pytest.mark.parametrize(("until", "about"), [(None, None), (after(-5), after(10)), (after(3_600), after(3_610))])
async def test_a_suspended_feeds_turns_come_after_the_suspension(
    listings: MemoryListings, until: datetime | None, about: datetime | None
) -> None:
    throughputs, listing = MemoryThroughputs(), await listings.get(FEED, "X1")
    assert listing is not None
    await throughputs.put(FEED, Throughput(NOW, 4.0))
    suspension = Suspension(by=SuspendedBy.ORIGIN, since=None, until=until, reason="429")
    turns = await explain.queue_positions(
        listings, throughputs, listing, FREE, replace(UNUSED, suspensions=[suspension]), NOW
    )
    assert set(turns.values()) == {explain.QueuePosition(40, about)}
