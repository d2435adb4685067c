"""An update of listings that others write at the same time loses neither their changes nor its own."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from shared.domain.listing import Listing
from shared.render import Renderer
from shared.stores import updates
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.memory import MemoryListings
from shared.stores.updates import OptimisticUpdate
from tests.builders import FEED, a_listing


class ContestedListings(MemoryListings):
    """Listings of which someone else writes some right before each write of ours: another `city` each time."""

    def __init__(self, contested: Iterable[str] = (), times: int = 1) -> None:
        super().__init__(Renderer("https://cdn.example.com"))
        self._contested = dict.fromkeys(contested, times)
        self.reads: list[Sequence[ListingId]] = []

    async def get_many(self, ids: Iterable[ListingId]) -> dict[ListingId, Listing]:
        self.reads.append(list(ids))
        return dict(await super().get_many(self.reads[-1]))

    async def write(self, listings: Iterable[Listing]) -> set[ListingId]:
        ours = list(listings)
        for listing in ours:
            if self._contested.get(listing.key):
                self._contested[listing.key] -= 1
                current = (await super().get_many([(FEED, listing.key)]))[FEED, listing.key]
                await super().write([replace(current, city=f"Written by another, revision {current.revision}")])
        return set(await super().write(ours))


async def a_store(contested: Iterable[str] = (), times: int = 1) -> ContestedListings:
    store = ContestedListings(contested, times)
    await MemoryListings.write(store, [a_listing(key=key) for key in ("A", "B", "C")])
    return store


def blocked(listing: Listing) -> Listing | None:
    return replace(listing, is_removed_by_operator=True) if listing.key != "C" else None


IDS = [(FEED, "A"), (FEED, "B"), (FEED, "C"), (FEED, "not recorded")]


async def test_a_refused_listing_is_read_again_and_alone() -> None:
    store = await a_store(contested=["B"])
    written = await updates.update(store, IDS, blocked)
    assert [listing.key for listing in written] == ["A", "B"]
    assert store.reads == [IDS, [(FEED, "B")]]
    found = await store.get_many(IDS)
    assert [listing.is_removed_by_operator for listing in found.values()] == [True, True, False]
    assert found[FEED, "B"].city == "Written by another, revision 1"


async def test_a_listing_that_others_keep_changing_is_not_given_up_in_silence() -> None:
    store = await a_store(contested=["B"], times=1_000)
    with pytest.raises(Contention, match="others changed a listing before each of 20 attempts"):
        await updates.update(store, IDS, blocked)
    found = await store.get_many(IDS)
    assert [listing.is_removed_by_operator for listing in found.values()] == [True, False, False]


async def test_a_reading_that_the_caller_has_made_is_not_made_again() -> None:
    store = await a_store(contested=["A"])
    readings = await MemoryListings.get_many(store, [(FEED, "A")])
    attempts = OptimisticUpdate(store, [(FEED, "A"), (FEED, "new")], readings)
    async for current in attempts:
        new = [a_listing(key="new")] if (FEED, "new") in attempts.ids else []
        await attempts.write([*(replace(listing, city="Ours") for listing in current.values()), *new])
    assert store.reads == [[(FEED, "A")]]
    assert {listing.city for listing in (await store.get_many([(FEED, "A"), (FEED, "new")])).values()} == {
        "Ours", a_listing().city,
    }  # fmt: skip


async def test_an_update_of_no_listings_makes_no_read() -> None:
    store = await a_store()
    assert await updates.update(store, [], blocked) == []
    assert store.reads == []


async def test_an_attempt_that_writes_nothing_is_the_last() -> None:
    store, rounds = await a_store(), 0
    async for _ in OptimisticUpdate(store, IDS):
        rounds += 1
    assert rounds == 1
