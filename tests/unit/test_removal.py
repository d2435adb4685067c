"""What does a removal sweep delete, leave, record and publish?"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.listing import RemovalReason, copy_keys
from tests.builders import FEED, KEY, NOW, a_copy, a_discard, a_downloaded_photo, a_listing, hidden
from tests.janitors import PHOTOS, RENDERER, Died, Mortality, World, a_hidden_listing, photos


@pytest.fixture
def world() -> World:
    """An empty world at NOW."""
    return World()


async def test_all_objects_of_a_hidden_listing_are_deleted_also_unrecorded_ones(world: World) -> None:
    unrecorded = a_copy("b", sha256="ee" * 32)  # stored by a worker that died before it recorded them
    await world.record(a_hidden_listing(standard_status="Closed"), a_listing(*photos("X2"), key="X2"))
    world.store_objects(*copy_keys(unrecorded))
    assert await world.a_janitor().sweep() == 1
    assert world.keys == {key for photo in photos("X2") for key in copy_keys(a_copy(photo.object_id, key="X2"))}
    assert ((await world.listing()).photos, (await world.listing()).discards) == ((), ())
    assert await world.evidence() == sorted((photo.id, "listing-inactive") for photo in photos())
    of_b = next(event for event in world.broker.events if event["image_id"] == photos()[1].id)
    urls = {RENDERER.url(variant.key) for copy in (a_copy("b"), unrecorded) for variant in copy.variants}
    assert set(of_b["urls"]) == urls
    assert world.metric("removed_total", reason="listing-inactive") == PHOTOS


async def test_the_evidence_has_the_listings_status_times_and_count_of_objects(world: World) -> None:
    off_market = replace(hidden(since=-9, remove_at=-4), off_market_at=NOW - timedelta(minutes=3))
    await world.record(a_hidden_listing(standard_status="Closed", hidden=off_market))
    await world.a_janitor().sweep()
    for removal in await world.removals.of_listing(FEED, KEY):
        assert (removal.mls_status, removal.off_market_at, removal.hidden_at) == (
            "Closed",
            off_market.off_market_at,
            off_market.since,
        )
        assert (removal.unshown_at, removal.removed_at, removal.objects, removal.remained) == (NOW, NOW, 3, ())


async def test_a_withdrawn_photo_is_removed_and_the_others_stay(world: World) -> None:
    a, b, _ = photos()
    discard = a_discard("c", copy=a_copy("c"), reason=RemovalReason.PHOTO_WITHDRAWN, whole=True)
    await world.record(a_listing(a, b, discards=(discard,)))
    world.store_objects(*copy_keys(a_copy("c")))
    await world.a_janitor().sweep()
    assert world.keys == {*copy_keys(a_copy("a")), *copy_keys(a_copy("b"))}
    assert await world.evidence() == [(discard.image_id, "photo-withdrawn")]


async def test_an_opted_out_listing_is_removed_at_once_and_a_superseded_copy_when_it_is_due(world: World) -> None:
    old, new = a_copy("a", sha256="aa" * 32), a_copy("a", sha256="bb" * 32)
    superseded = a_discard("a", copy=old, remove_at=NOW + timedelta(hours=24))
    opted_out = a_hidden_listing("X2", hidden=hidden(since=-9, remove_at=-4, reason=RemovalReason.OPT_OUT))
    await world.record(a_listing(a_downloaded_photo("a", copy=new), discards=(superseded,)), opted_out)
    world.store_objects(*copy_keys(old))
    await world.a_janitor().sweep()
    assert {reason for _, reason in await world.evidence("X2")} == {"opt-out"}
    assert world.keys == {*copy_keys(old), *copy_keys(new)}
    world.advance(24 * 3600)
    await world.a_janitor().sweep()
    assert world.keys == {*copy_keys(new)}
    assert await world.evidence() == [(superseded.image_id, "superseded")]
    assert world.broker.events[-1]["urls"] == [RENDERER.url(variant.key) for variant in old.variants]


async def test_an_object_that_storage_refuses_to_delete_is_reported_and_retried_while_others_go(world: World) -> None:
    await world.record(a_hidden_listing(), a_hidden_listing("X2"))
    locked = copy_keys(a_copy("b"))[0]
    world.objects.locked = {locked}
    await world.a_janitor().sweep()
    assert world.keys == {locked}
    assert len(await world.evidence("X2")) == PHOTOS
    of_b = [removal for removal in await world.removals.of_listing(FEED, KEY) if removal.image_id == photos()[1].id]
    assert [removal.remained for removal in of_b] == [(locked,)]
    assert photos()[1].id not in {event["image_id"] for event in world.broker.events}
    assert world.metric("removal_refused_total") == 1

    world.advance(59)
    assert await world.a_janitor().sweep() == 0
    world.objects.locked = set()
    world.advance(2)
    await world.a_janitor().sweep()
    assert world.keys == set()
    of_b = [removal for removal in await world.removals.of_listing(FEED, KEY) if removal.image_id == photos()[1].id]
    assert [len(removal.remained) for removal in of_b] == [1, 0]
    assert {removal.unshown_at for removal in of_b} == {NOW}, (
        "a retry does not change when the image was taken off the record"
    )
    assert [event["image_id"] for event in world.broker.events].count(photos()[1].id) == 1


async def test_many_listings_are_removed_with_few_requests(world: World) -> None:
    calls: list[str] = []

    class CountingStore:
        def __init__(self, store: object) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            calls.append(name)
            return getattr(self._store, name)

    await world.record(*(a_hidden_listing(f"X{number}") for number in range(20)))
    janitor = world.a_janitor(CountingStore)
    assert await janitor.sweep() == 20
    assert {name: calls.count(name) for name in ("delete", "add", "publish", "write")} == {
        "delete": 2, "add": 1, "publish": 1, "write": 2,
    }  # fmt: skip
    assert calls.count("list") == 2 * 20  # one prefix for each listing, not for each photo
    assert world.keys == set()


async def test_a_gauge_shows_how_long_the_oldest_removal_has_been_due(world: World) -> None:
    await world.record(a_hidden_listing(hidden=hidden(since=-100, remove_at=-95)))
    janitor = world.a_janitor(Mortality(6).wrap)
    with pytest.raises(Died):
        await janitor.sweep()
    assert world.metric("removal_late_seconds") == 95
    await world.a_janitor().sweep()
    assert world.metric("removal_late_seconds") == 0
