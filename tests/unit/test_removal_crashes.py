"""What does a removal sweep leave if its janitor dies or stalls, and if the listing is shown again meanwhile?"""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.listing import Listing, RemovalReason, copy_keys
from tests.builders import KEY, NOW, a_copy, a_discard, a_listing, hidden
from tests.janitors import PHOTOS, Died, Mortality, Stall, World, a_hidden_listing, photos


@pytest.fixture
def world() -> World:
    """An empty world at NOW."""
    return World()


async def call_count(world: World) -> int:
    """Return how many calls of stores a whole sweep makes."""
    mortality = Mortality(10_000)
    await world.a_janitor(mortality.wrap).sweep()
    return 10_000 - mortality.calls_left


def due_listings() -> list[Listing]:
    """Return listings of which something is to be removed for each reason."""
    old = a_discard("a", copy=a_copy("a", sha256="aa" * 32), remove_at=NOW - timedelta(seconds=1))
    withdrawn = a_discard("c", copy=a_copy("c"), reason=RemovalReason.PHOTO_WITHDRAWN, whole=True)
    return [
        a_listing(*photos()[:2], discards=(old, withdrawn)),
        a_hidden_listing("X2"),
        a_hidden_listing("X3", hidden=hidden(since=-9, remove_at=-4, reason=RemovalReason.OPT_OUT)),
    ]


async def a_world_with_due_removals() -> World:
    world = World()
    await world.record(*due_listings())
    world.store_objects(
        *copy_keys(a_copy("a", sha256="aa" * 32)), *copy_keys(a_copy("c")), *copy_keys(a_copy("b", key="X2"))
    )
    return world


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_removal_that_a_dead_janitor_left_at_any_step_is_finished_by_the_next(after: bool) -> None:
    undisturbed = await a_world_with_due_removals()
    count = await call_count(undisturbed)
    assert count > 10
    for step in range(1, count + 1):
        world = await a_world_with_due_removals()
        with pytest.raises(Died):
            await world.a_janitor(Mortality(step, after=after).wrap).sweep()
        world.advance(1)
        await world.a_janitor().sweep()
        assert world.keys == undisturbed.keys, step
        for key in (KEY, "X2", "X3"):
            assert await world.evidence(key) == await undisturbed.evidence(key), step
            found, expected = await world.listing(key), await undisturbed.listing(key)
            assert replace(found, revision=0) == replace(expected, revision=0), step
        published = {(event["image_id"], event["reason"], *event["urls"]) for event in world.broker.events}
        assert published == {
            (event["image_id"], event["reason"], *event["urls"]) for event in undisturbed.broker.events
        }, step


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_listing_shown_again_after_any_step_of_its_removal_is_complete_in_the_end(after: bool) -> None:
    """The janitor dies; the listing is active again and downloaded if due; the next janitor finishes the removal."""
    for step in range(1, 40):
        world = World()
        await world.record(a_hidden_listing())
        try:
            await world.a_janitor(Mortality(step, after=after).wrap).sweep()
        except Died:
            world.advance(1)
        else:
            break
        await world.announce(KEY)
        await world.download()
        await world.a_janitor().sweep()
        await world.download()
        listing = await world.listing()
        assert listing.is_displayed, step
        assert [photo.object_id for photo in listing.photos] == ["a", "b", "c"], step
        assert all(photo.copy for photo in listing.photos), step
        assert world.keys == {key for photo in listing.photos if photo.copy for key in copy_keys(photo.copy)}, step
    else:
        pytest.fail("the sweep still dies after 40 calls")


@pytest.mark.parametrize(
    ("store", "method", "after", "lost"),
    [("listings", "write", True, 0), ("objects", "delete", False, PHOTOS), ("removals", "add", False, 0)],
    ids=["after it marked them", "before it deletes them", "after it deleted them"],
)
async def test_a_janitor_that_stalled_and_was_overtaken_leaves_no_copy_without_its_objects(
    world: World, store: str, method: str, after: bool, lost: int
) -> None:
    """A janitor stalls for a minute in a removal. Meanwhile another one finishes it, and the listing is shown again.

    The same bytes are stored again. Then the first janitor goes on.
    """

    async def meanwhile() -> None:
        world.advance(60)
        assert await world.a_janitor(name="other").sweep() == 1
        assert world.keys == set()
        await world.announce(KEY)
        await world.download()

    await world.record(a_hidden_listing())
    stall = Stall(getattr(world, store), method, meanwhile, after=after)
    await world.a_janitor(stall.wrap, name="slow").sweep()
    listing = await world.listing()
    assert [listing.photo_due_at(photo) for photo in listing.photos if photo.copy is None] == [world.now] * lost
    await world.download()
    listing = await world.listing()
    assert len(listing.photos) == PHOTOS
    assert all(photo.copy for photo in listing.photos)
    assert world.keys == {key for photo in listing.photos if photo.copy for key in copy_keys(photo.copy)}
