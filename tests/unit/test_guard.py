"""When are the removals of a feed held, what goes on meanwhile, and what does an operator's decision do?"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.burst import MIN_HIDDEN
from shared.domain.listing import Listing, RemovalReason
from shared.stores.removal_holds import Decision
from tests.builders import FEED, NOW, a_copy, a_discard, a_downloaded_photo, a_listing, a_photo, hidden
from tests.janitors import Died, Mortality, World, a_hidden_listing, burst, photos


@pytest.fixture
def world() -> World:
    """An empty world at NOW."""
    return World()


def displayed(size: int) -> list[Listing]:
    return [a_listing(a_photo(key=f"D{number}"), key=f"D{number}") for number in range(size)]


@pytest.mark.parametrize(
    ("hidden_count", "displayed_count", "share", "is_held"),
    [
        (MIN_HIDDEN, 150, 0.2, True),  # 50 of 200
        (MIN_HIDDEN, 200, 0.2, False),  # 50 of 250 is the share, not more
        (MIN_HIDDEN - 1, 0, 0.2, False),  # all listings of a small feed
        (MIN_HIDDEN, 0, 1.0, False),  # no share is a burst
        (MIN_HIDDEN, 500, 0.0, True),
    ],
)
async def test_removals_are_held_if_enough_listings_and_a_large_share_turn_hidden_in_an_hour(
    world: World, hidden_count: int, displayed_count: int, share: float, is_held: bool
) -> None:
    hidden_listings = burst(hidden_count)
    await world.record(*hidden_listings, *displayed(displayed_count))
    await world.a_janitor(removal_freeze_share=share).sweep()
    assert await world.removed_count(*hidden_listings) == (0 if is_held else hidden_count)
    assert bool(world.keys) is is_held
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") == is_held
    assert [hold.hidden for hold in await world.removal_holds.all()] == [hidden_count] * is_held


async def test_the_first_due_listing_of_a_burst_is_held_before_the_others_are_due(world: World) -> None:
    hidden_listings = burst(MIN_HIDDEN, since=-4.5)
    first = burst(1, since=-5.5)
    await world.record(*first, *hidden_listings)
    await world.a_janitor().sweep()
    assert await world.removed_count(*first) == 0


@pytest.mark.parametrize("hours", [1.1, 30.0])
async def test_a_burst_while_no_janitor_ran_is_held_and_removed_once_it_is_resumed(world: World, hours: float) -> None:
    before, hidden_listings = burst(1, since=-3_600 * (hours + 2)), burst(80, since=-3_600 * hours)
    await world.record(*before, *hidden_listings, *displayed(10))
    await world.a_janitor().sweep()
    assert await world.removed_count(*before, *hidden_listings) == 0
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") == 1
    assert await world.removal_holds.decide(FEED, Decision.RESUME, world.now) == 1
    world.advance(2)
    await world.a_janitor().sweep()
    assert await world.removed_count(*before, *hidden_listings) == 81


async def test_listings_hidden_over_many_hours_while_no_janitor_ran_are_removed(world: World) -> None:
    hidden_listings = [
        listing for hour in range(8) for listing in burst(MIN_HIDDEN - 1, since=-3_600 * (hour * 1.1 + 1.1))
    ]
    await world.record(*hidden_listings, *displayed(10))
    await world.a_janitor().sweep()
    assert await world.removed_count(*hidden_listings) == len(hidden_listings)


async def test_listings_that_were_never_displayed_do_not_count_as_a_burst(world: World) -> None:
    hidden_listings = [
        replace(listing, hidden=replace(listing.hidden, was_displayed=False)) for listing in burst(80) if listing.hidden
    ]
    await world.record(*hidden_listings, *displayed(10))
    await world.a_janitor().sweep()
    assert await world.removed_count(*hidden_listings) == 80


async def test_opt_outs_are_removed_during_a_burst_of_inactive_listings(
    world: World,
) -> None:
    inactive, owners = burst(80), burst(MIN_HIDDEN - 1, since=-7, reason=RemovalReason.OPT_OUT)
    await world.record(*inactive, *owners, *displayed(10))
    await world.a_janitor().sweep()
    assert (await world.removed_count(*inactive), await world.removed_count(*owners)) == (0, len(owners))

    mass = burst(MIN_HIDDEN, since=-8, reason=RemovalReason.OPT_OUT)
    await world.record(*mass)
    world.advance(1)
    await world.a_janitor().sweep()
    assert await world.removed_count(*mass) == 0
    assert world.metric("removals_held", feed=FEED, reason="opt-out") == 1


async def test_withdrawn_superseded_and_forced_photos_are_removed_while_a_burst_is_held(world: World) -> None:
    forced = a_hidden_listing("F", hidden=hidden(since=-1, remove_at=-1, reason=RemovalReason.FORCED))
    old = a_discard("a", copy=a_copy("a", sha256="aa" * 32))
    withdrawn = a_discard("c", copy=a_copy("c"), reason=RemovalReason.PHOTO_WITHDRAWN, whole=True)
    other = a_listing(*photos()[:2], discards=(old, withdrawn))
    hidden_listings = burst(80)
    await world.record(*hidden_listings, forced, other)
    await world.a_janitor().sweep()
    assert await world.removed_count(*hidden_listings) == 0
    assert await world.removed_count(forced) == 1
    assert (await world.listing()).discards == ()


async def test_a_janitor_that_lost_its_lease_clears_its_gauges(world: World) -> None:
    await world.record(*burst(80), *displayed(10))
    first = world.a_janitor(name="first")
    await first.sweep()
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") == 1
    assert world.metric("removal_late_seconds") == 0  # all are held
    assert await world.leases.hold("removal", "second", NOW, NOW) is False
    await world.leases.release("removal", "first")
    assert await world.leases.hold("removal", "second", NOW, NOW + timedelta(minutes=10))
    world.advance(60)
    await first.sweep()
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") is None
    assert world.metric("removal_late_seconds") == 0


async def test_resuming_removes_held_listings_and_does_not_hold_them_again(world: World) -> None:
    hidden_listings = burst(80)
    await world.record(*hidden_listings, *displayed(10))
    await world.a_janitor().sweep()
    assert await world.removal_holds.decide(FEED, Decision.RESUME, world.now) == 1
    world.advance(1)
    janitor = world.a_janitor()
    await janitor.sweep()
    assert await world.removed_count(*hidden_listings) == 80
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") == 0
    again = burst(MIN_HIDDEN, since=2)
    world.advance(7)
    await world.record(*again)
    await janitor.sweep()
    assert await world.removed_count(*again) == 0, "a burst after the decision is another burst"


async def test_a_discarded_burst_stays_hidden_with_its_copies_for_72_hours(world: World) -> None:
    hidden_listings = [*burst(79), *burst(1, since=-2)]  # the last is not due yet
    await world.record(*hidden_listings, *displayed(10))
    await world.a_janitor().sweep()
    assert await world.removal_holds.decide(FEED, Decision.DISCARD, world.now) == 1
    janitor = world.a_janitor()
    for seconds in (10, 72 * 3_600 - 20):
        world.advance(seconds)
        await janitor.sweep()
        assert await world.removed_count(*hidden_listings) == 0
    assert not (await world.announce(hidden_listings[0].key, StandardStatus="Closed")).is_displayed
    shown = await world.announce(hidden_listings[1].key)
    assert shown.is_displayed
    assert shown.photos[0].copy
    await janitor.sweep()
    assert await world.removed_count(*hidden_listings) == 0, (
        "another announcement that they are inactive changes nothing"
    )
    world.advance(20)
    await janitor.sweep()
    assert await world.removed_count(*hidden_listings) == len(hidden_listings) - 1
    assert (await world.listing(hidden_listings[1].key)).photos


async def test_a_held_listing_that_its_owner_opts_out_of_is_removed_at_once(world: World) -> None:
    hidden_listings = burst(80)
    await world.record(*hidden_listings)
    await world.a_janitor().sweep()
    await world.announce(hidden_listings[0].key, InternetEntireListingDisplayYN=False)
    await world.a_janitor().sweep()
    assert await world.removed_count(*hidden_listings) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"StandardStatus": "Closed"}, "listing-inactive"),
        ({"MlgCanView": False}, "listing-inactive"),  # as a sweep publishes it for keys that the MLS has no more
        ({"InternetEntireListingDisplayYN": False}, "opt-out"),
    ],
)
async def test_a_burst_is_held_whatever_field_of_the_record_hides_it(
    world: World, fields: dict[str, Any], reason: str
) -> None:
    shown = [a_listing(a_downloaded_photo("a", key=f"S{number}"), key=f"S{number}") for number in range(60)]
    await world.record(*shown)
    for listing in shown:
        assert not (await world.announce(listing.key, **fields)).is_displayed
    world.advance(6)
    await world.a_janitor().sweep()
    assert await world.removed_count(*shown) == 0
    assert [str(hold.reason) for hold in await world.removal_holds.all()] == [reason]


async def test_a_janitor_that_dies_while_it_begins_a_hold_removes_no_held_listing() -> None:
    for step in range(1, 60):
        world, hidden_listings = World(), burst(60)
        await world.record(*hidden_listings)
        try:
            await world.a_janitor(Mortality(step, after=bool(step % 2)).wrap).sweep()
        except Died:
            world.advance(1)
        else:
            break
        await world.a_janitor().sweep()
        assert await world.removed_count(*hidden_listings) == 0
        await world.removal_holds.decide(FEED, Decision.RESUME, world.now)
        with pytest.raises(Died):
            await world.a_janitor(Mortality(5).wrap).sweep()
        world.advance(1)
        await world.a_janitor().sweep()
        assert await world.removed_count(*hidden_listings) == 60
    else:
        pytest.fail("the sweep still dies after 60 calls")
