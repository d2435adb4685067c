"""Images that an operator removes are hidden at once, deleted within seconds, and stay hidden until allowed again."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from ops import removals
from services.downloader.decide import settle
from services.downloader.outcomes import Downloaded
from shared.domain.image import Claim
from shared.domain.listing import Listing, RemovalReason, copy_keys
from shared.render import Renderer
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.memory import MemoryListings
from tests.builders import FEED, KEY, NOW, a_copy, a_discard, a_feed, a_listing, a_record, a_row, announced, hidden
from tests.janitors import PHOTOS, World, a_hidden_listing, burst, photos


@pytest.fixture
def world() -> World:
    """An empty world at NOW."""
    return World()


async def change(world: World, rule: Callable[..., Listing], *images: str) -> None:
    await removals.change(world.listings, [(FEED, KEY)], partial(rule, image_ids=images), world.clock)


def announced_at(at: float | None, **fields: Any) -> dict[str, Any]:
    return a_record(*(a_row(name) for name in "abc"), at=at, **fields)


async def announce(world: World, record: dict[str, Any], offset: int = 0) -> Listing:
    """Record an announcement if it changes the listing; return the listing as it is then."""
    if after := announced(record, await world.listing(), offset=offset, now=world.now):
        assert not await world.listings.write([after])
    return await world.listing()


async def test_a_forced_listing_is_removed_at_once_with_superseded_copies_and_stays_away(world: World) -> None:
    old = a_discard("a", copy=a_copy("a", sha256="aa" * 32), remove_at=NOW + timedelta(hours=24))
    await world.record(a_listing(*photos(), discards=(old,)))
    world.store_objects(*copy_keys(a_copy("a", sha256="aa" * 32)))
    await change(world, removals.remove)
    assert not (await world.listing()).is_displayed
    await world.a_janitor().sweep()
    assert world.keys == set()
    assert await world.evidence() == sorted((photo.id, "forced") for photo in photos())
    assert {event["reason"] for event in world.broker.events} == {"forced"}
    for at, offset in ((0, 1), (60, 2), (120, 3)):  # the same announcement again, and newer ones
        listing = await announce(world, announced_at(at), offset)
        assert (listing.is_displayed, listing.photos, listing.due_at) == (False, (), None)
    assert await world.a_janitor().sweep() == 0


@pytest.mark.parametrize(
    ("at", "offset"),
    [(0, 0), (-60, 0), (60, 1), (None, 0)],
    ids=["the same", "an older one", "a newer one", "one without a time"],
)
async def test_an_allowed_listing_is_shown_again_with_the_next_announcement_even_an_older_one(
    world: World, at: float | None, offset: int
) -> None:
    await world.record(a_listing(*photos()))
    await change(world, removals.remove)
    await world.a_janitor().sweep()
    await change(world, removals.allow_again)
    listing = await world.listing()
    assert not listing.is_displayed
    assert not removals.is_removed(listing, ())
    listing = await announce(world, announced_at(at), offset)
    assert listing.is_displayed
    assert [photo.object_id for photo in listing.photos] == ["a", "b", "c"]
    assert listing.due_at == NOW


async def test_an_allowed_listing_stays_hidden_if_the_next_announcement_hides_it(world: World) -> None:
    await world.record(a_listing(*photos()))
    await change(world, removals.remove)
    await world.a_janitor().sweep()
    await change(world, removals.allow_again)
    listing = await announce(world, announced_at(0, StandardStatus="Closed"))
    assert listing.hidden
    assert listing.hidden.reason is RemovalReason.LISTING_INACTIVE


async def test_a_forced_image_is_removed_alone_and_stays_away_until_it_is_allowed(world: World) -> None:
    a, b, c = photos()
    await world.record(a_listing(a, b, c))
    await change(world, removals.remove, b.id)
    await world.a_janitor().sweep()
    assert world.keys == {*copy_keys(a_copy("a")), *copy_keys(a_copy("c"))}
    assert await world.evidence() == [(b.id, "forced")]
    for at, offset in ((0, 1), (60, 2)):
        listing = await announce(world, announced_at(at), offset)
        assert [(photo.object_id, photo.order) for photo in listing.photos] == [("a", 0), ("c", 1)]
        assert listing.due_at is None or at == 60
    assert await world.a_janitor().sweep() == 0
    await change(world, removals.allow_again, b.id)
    listing = await announce(world, announced_at(60), offset=2)
    assert [(photo.object_id, photo.order) for photo in listing.photos] == [("a", 0), ("b", 1), ("c", 2)]
    assert listing.photos[0].copy
    assert listing.photo_due_at(listing.photos[1]) == NOW


@pytest.mark.parametrize("images", [[], [photos()[1].id]])
async def test_the_evidence_says_since_when_forced_images_were_hidden(world: World, images: list[str]) -> None:
    off_market = replace(hidden(since=-90, remove_at=900), off_market_at=NOW - timedelta(minutes=3))
    await world.record(a_listing(*photos(), hidden=off_market))
    await change(world, removals.remove, *images)
    await world.a_janitor().sweep()
    evidence = await world.removals.of_listing(FEED, KEY)
    assert len(evidence) == len(images or PHOTOS * [0])
    for removal in evidence:
        assert (removal.reason, removal.off_market_at, removal.hidden_at, removal.unshown_at) == (
            "forced",
            off_market.off_market_at,
            off_market.since,
            NOW,
        )


async def test_allowing_a_listing_allows_its_images_but_not_the_reverse(
    world: World,
) -> None:
    a, b, _ = photos()
    await world.record(a_listing(*photos()))
    await change(world, removals.remove, a.id, b.id)
    await change(world, removals.remove)
    await change(world, removals.allow_again, a.id)
    listing = await world.listing()
    assert (listing.is_removed_by_operator, listing.removed_image_ids) == (True, (b.id,))
    assert not removals.is_removed(listing, [a.id])
    assert removals.is_removed(listing, [b.id])
    await change(world, removals.allow_again)
    listing = await world.listing()
    assert (listing.is_removed_by_operator, listing.removed_image_ids) == (False, ())


async def test_a_forced_listing_is_removed_while_its_feeds_removals_are_held(world: World) -> None:
    await world.record(*burst(80), a_hidden_listing(hidden=hidden(since=-6, remove_at=-1)))
    await world.a_janitor().sweep()
    assert world.keys
    await change(world, removals.remove)
    await world.a_janitor().sweep()
    assert await world.evidence() == sorted((photo.id, "forced") for photo in photos())


async def test_a_download_in_flight_does_not_bring_a_forced_image_back(world: World) -> None:
    a = replace(photos()[0], claim=Claim(worker="w", until=NOW + timedelta(seconds=80)), released_at=NOW)
    await world.record(a_listing(a))
    await change(world, removals.remove, a.id)
    settled = settle(
        await world.listing(), a, Downloaded(a_copy("a", sha256="cc" * 32)), feed=a_feed(),
        superseded_for=timedelta(hours=24), now=world.now, jitter=0.0,
    )  # fmt: skip
    world.store_objects(*copy_keys(a_copy("a", sha256="cc" * 32)))
    assert not await world.listings.write([settled.listing])
    await world.a_janitor().sweep()
    assert (world.keys, (await world.listing()).photos) == (set(), ())


async def test_removals_that_others_keep_from_being_written_are_named_and_all_others_are_written(world: World) -> None:
    class RefusingListings(MemoryListings):
        """Listings that another changes before each write of ours, but for the listing Y."""

        async def write(self, listings: Iterable[Listing]) -> set[ListingId]:
            ours = list(listings)
            await super().write(listing for listing in ours if listing.key == "Y")
            return {(listing.feed, listing.key) for listing in ours if listing.key != "Y"}

    contested = RefusingListings(Renderer("https://cdn.example.com"))
    await MemoryListings.write(contested, [a_listing(key=key) for key in ("Z", "Y", "X")])
    ids = [(FEED, key) for key in ("Z", "Y", "X")]
    with pytest.raises(Contention, match=r"^2 listings were not written \(X, Z\): others changed them"):
        await removals.change(contested, ids, partial(removals.remove, image_ids=()), world.clock)
    written = await contested.get(FEED, "Y")
    assert written
    assert written.is_removed_by_operator


async def test_removed_listings_are_returned_in_the_order_in_which_they_were_named(world: World) -> None:
    await world.record(*(a_listing(key=key) for key in ("A", "B", "C")))
    ids = [(FEED, key) for key in ("C", "A", "B")]
    removed = await removals.change(world.listings, ids, partial(removals.remove, image_ids=()), world.clock)
    assert [listing.key for listing in removed] == ["C", "A", "B"]
