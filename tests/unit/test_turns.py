"""When is a due photo's turn? `explain` says its place in the queue and an estimate."""

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
    """A queue: forty photos that are popular, then ten of the listing X1 that is looked at."""
    store = MemoryListings(RENDERER)
    popular = [a_photo(f"p{number}", key="P", priority=Priority.POPULAR) for number in range(40)]
    await store.write([a_listing(*popular, key="P"), a_listing(*(a_photo(f"{number}") for number in range(10)))])
    return store


async def test_a_due_photo_has_its_place_and_its_time(listings: MemoryListings) -> None:
    throughputs, listing = MemoryThroughputs(), await listings.get(FEED, "X1")
    assert listing is not None
    await throughputs.put(FEED, Throughput(NOW, 4.0))
    turns = await explain.turns(listings, throughputs, listing, FREE, UNUSED, NOW)
    assert set(turns.values()) == {explain.Turn(40, after(10))}
    assert len(turns) == 10
    photo = listing.photos[0]
    said = explain.of_photo(listing, photo, [], FREE, RENDERER, NOW, turns[photo.id])
    assert (
        "40 photos are ahead of it in the queue; its turn is about 2026-11-23T09:00:10+00:00 (in 10 s)"
        in (said.lines[1])
    )


async def test_where_no_pace_is_known_a_turn_has_the_rules_time_or_none(listings: MemoryListings) -> None:
    listing = a_listing(a_photo("0", not_before=after(-1), priority=Priority.ROUTINE))
    for feed, about in ((a_feed(viewed_reserve=0.0), after(40 / 16)), (FREE, None)):
        turns = await explain.turns(listings, MemoryThroughputs(), listing, feed, UNUSED, NOW)
        assert [turn.about for turn in turns.values()] == [about]


async def test_a_photo_that_is_not_due_yet_has_no_turn_and_is_said_when_it_is(listings: MemoryListings) -> None:
    photo = a_photo("0", not_before=after(86_400), failure=Failure(Reason.GONE), attempts=6)
    listing = a_listing(photo)
    assert await explain.turns(listings, MemoryThroughputs(), listing, FREE, UNUSED, NOW) == {}
    said = explain.of_photo(listing, photo, [], FREE, RENDERER, NOW).lines
    assert "tried again 2026-11-24T09:00:00+00:00 (in 24 h)" in said[0]
    assert not any("in the queue" in line for line in said)


async def test_what_is_here_or_under_way_has_no_turn(listings: MemoryListings) -> None:
    claimed = replace(a_photo("c"), claim=Claim(worker="w", until=after(60)))
    listing = a_listing(a_downloaded_photo("h"), lifecycle.release(a_photo("r"), NOW), claimed)
    assert await explain.turns(listings, MemoryThroughputs(), listing, FREE, UNUSED, NOW) == {}


@pytest.mark.parametrize(("until", "about"), [(None, None), (after(-5), after(10)), (after(3_600), after(3_610))])
async def test_nothing_moves_while_the_feed_is_silent(
    listings: MemoryListings, until: datetime | None, about: datetime | None
) -> None:
    throughputs, listing = MemoryThroughputs(), await listings.get(FEED, "X1")
    assert listing is not None
    await throughputs.put(FEED, Throughput(NOW, 4.0))
    silence = Suspension(by=SuspendedBy.ORIGIN, since=None, until=until, reason="429")
    turns = await explain.turns(listings, throughputs, listing, FREE, replace(UNUSED, suspensions=[silence]), NOW)
    assert set(turns.values()) == {explain.Turn(40, about)}
