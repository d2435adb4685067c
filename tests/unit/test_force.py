"""Which photos does `imagectl force` make due, and which does it leave alone?"""

from dataclasses import replace
from typing import Any

import pytest

from ops import force
from ops.force import Forced, PhotoFilter
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Photo, url_key
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.render import Renderer
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.memory import MemoryListings
from tests.builders import FEED, NOW, a_discard, a_downloaded_photo, a_listing, a_photo, after, hidden

GONE = Failure(Reason.GONE)
LATER = after(600)


ALL = PhotoFilter()


def forced_ids(listing: Listing, selected: PhotoFilter = ALL) -> list[str]:
    """Return the object ids of the photos that are forced."""
    due = force.force_photos(listing, selected, Priority.SEARCHED, LATER)
    return [photo.object_id for photo in due.photos if photo.forced_at == LATER] if due else []


@pytest.mark.parametrize(
    ("photo", "is_due"),
    [
        (a_downloaded_photo(), True),
        (a_photo(), True),
        (a_photo(failure=GONE, attempts=6, not_before=after(86_400)), True),
        (lifecycle.release(a_photo(), after(590)), True),
        (a_photo(claim=Claim(worker="w", until=after(700))), False),
        (a_photo(claim=Claim(worker="w", until=after(500))), True),
        (a_photo(used_url_key=url_key("https://photos.example.com/a.jpg")), False),
    ],
    ids=[
        "downloaded",
        "pending",
        "given up",
        "released",
        "claimed",
        "its claim has ended",
        "its single-use URL is used",
    ],
)
def test_a_photo_that_an_attempt_is_possible_of_is_due_now_with_the_priority(photo: Photo, is_due: bool) -> None:
    due = force.force_photos(a_listing(photo), PhotoFilter(), Priority.SEARCHED, LATER)
    assert (due is not None) == is_due
    if due:
        assert (due.due_at, due.priority) == (LATER, Priority.SEARCHED)


def test_a_more_urgent_photo_keeps_its_priority() -> None:
    due = force.force_photos(a_listing(a_photo(priority=Priority.VIEWED)), PhotoFilter(), Priority.ROUTINE, LATER)
    assert due
    assert due.priority is Priority.VIEWED


def test_hidden_listings_and_photos_that_are_being_removed_are_not_forced() -> None:
    assert forced_ids(a_listing(a_downloaded_photo(), hidden=hidden())) == []
    assert forced_ids(a_listing(a_photo("a"), a_photo("b"), discards=(a_discard("a", whole=True),))) == ["b"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["a", "b"]),
        ({"failed": Reason.GONE}, ["b"]),
        ({"failed": Reason.TIMEOUT}, []),
        ({"city": " GUELPH"}, ["a", "b"]),
        ({"city": "Toronto"}, []),
        ({"listing_keys": ("X1",)}, ["a", "b"]),
        ({"listing_keys": ("X2",)}, []),
        ({"city": "Guelph", "failed": Reason.GONE, "listing_keys": ("X1", "X2")}, ["b"]),
        ({"city": "Toronto", "failed": Reason.GONE}, []),
    ],
)
def test_a_photo_must_fit_all_filters(filters: dict[str, Any], expected: list[str]) -> None:
    assert (
        forced_ids(a_listing(a_downloaded_photo("a"), a_photo("b", failure=GONE)), PhotoFilter(**filters)) == expected
    )


class Contested(MemoryListings):
    """Listings of which another writer changes one before our first write of it, or before each write."""

    contested = "X3"
    is_contested_forever = False

    async def write(self, listings: Any) -> Any:
        ours = list(listings)
        if self.contested in [listing.key for listing in ours]:
            recorded = (await self.get(FEED, self.contested)) or a_listing()
            self.contested = self.contested if self.is_contested_forever else ""
            await super().write([replace(recorded, city="Elsewhere")])
        return await super().write(ours)


async def a_store() -> Contested:
    store = Contested(Renderer("https://cdn.example.com"))
    many = [a_listing(a_downloaded_photo(key=f"X{n}"), a_photo("b", key=f"X{n}"), key=f"X{n}") for n in range(450)]
    many[7] = replace(many[7], hidden=hidden())
    await MemoryListings.write(store, many)
    return store


async def test_a_whole_feed_is_forced_and_a_write_in_between_is_kept() -> None:
    store, read_counts = await a_store(), list[int]()
    done = await force.force(
        store,
        FEED,
        PhotoFilter(),
        Priority.POPULAR,
        lambda: LATER,
        dry_run=False,
        on_progress=lambda so_far: read_counts.append(so_far.looked_at),
    )
    assert (done.looked_at, done.listings, done.photos, done.hidden) == (450, 449, 898, 1)
    assert read_counts == [200, 400, 450]
    contested = await store.get(FEED, "X3")
    assert contested
    assert (contested.city, contested.due_at) == ("Elsewhere", LATER)


async def test_a_dry_run_counts_the_same_and_writes_nothing() -> None:
    store = await a_store()
    before = await all_listings(store)
    done = await force.force(store, FEED, PhotoFilter(), Priority.POPULAR, lambda: LATER, dry_run=True)
    assert (done.photos, done.bytes_expected) == (898, 898 * 400_000)
    assert await all_listings(store) == before


async def test_only_the_named_listings_are_read() -> None:
    done = await force.force(
        await a_store(),
        FEED,
        PhotoFilter(listing_keys=("X1", "X7", "X9999")),
        Priority.POPULAR,
        lambda: NOW,
        dry_run=True,
    )
    assert (done.looked_at, done.photos, done.hidden) == (2, 2, 1)


async def test_a_named_listing_that_is_left_out_is_explained() -> None:
    store = await a_store()
    await store.write([a_listing(key="OLD", feed="closed"), a_listing(key="X1", feed="closed")])
    lines = [line async for line in force.explain_left_out(store, ("X1", "OLD", "NEW", "NEW"), [FEED], [FEED, "other"])]
    assert lines == [
        "OLD is recorded of feed closed, which is not among the feeds any more: nothing of it is fetched",
        "NEW is not recorded; see: imagectl explain NEW",
    ]
    assert [line async for line in force.explain_left_out(store, ("X3",), ["other"], [FEED, "other"])] == [
        f"X3 is recorded of feed {FEED}; name that with --feed"
    ]


def test_no_bytes_are_expected_if_no_size_is_known() -> None:
    assert Forced(photos=3).bytes_expected is None


async def all_listings(store: MemoryListings) -> dict[ListingId, Listing]:
    return dict(await store.get_many([(FEED, f"X{n}") for n in range(450)]))


async def test_a_listing_that_others_keep_changing_is_reported_as_not_written() -> None:
    store = await a_store()
    store.is_contested_forever = True
    with pytest.raises(Contention, match="1 listing of proptx-idx was not written"):
        await force.force(store, FEED, PhotoFilter(), Priority.POPULAR, lambda: LATER, dry_run=False)
    due = [listing.key for listing in (await all_listings(store)).values() if listing.due_at == LATER]
    assert (len(due), "X3" in due) == (448, False)
