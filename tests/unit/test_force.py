"""Which photos does an operator's order make due, and what is left alone?"""

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


def forced_ids(listing: Listing, wanted: PhotoFilter = ALL) -> list[str]:
    due = force.force_photos(listing, wanted, Priority.SEARCHED, LATER)
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
    ids=["held", "pending", "given up", "released", "in work", "its worker is gone", "its URL works once"],
)
def test_a_photo_that_can_be_had_is_due_now_at_the_priority(photo: Photo, is_due: bool) -> None:
    due = force.force_photos(a_listing(photo), PhotoFilter(), Priority.SEARCHED, LATER)
    assert (due is not None) == is_due
    if due:
        assert (due.due_at, due.priority) == (LATER, Priority.SEARCHED)


def test_a_photo_that_is_more_urgent_already_stays_so() -> None:
    due = force.force_photos(a_listing(a_photo(priority=Priority.VIEWED)), PhotoFilter(), Priority.ROUTINE, LATER)
    assert due
    assert due.priority is Priority.VIEWED


def test_a_hidden_listing_and_a_photo_whose_objects_are_going_are_never_touched() -> None:
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
def test_filters_combine(filters: dict[str, Any], expected: list[str]) -> None:
    assert (
        forced_ids(a_listing(a_downloaded_photo("a"), a_photo("b", failure=GONE)), PhotoFilter(**filters)) == expected
    )


class Contested(MemoryListings):
    """Listings of which another writes one right before our first write of it, or before each of them."""

    contested = "X3"
    is_contested_forever = False

    async def write(self, listings: Any) -> Any:
        ours = list(listings)
        if self.contested in [one.key for one in ours]:
            known = (await self.get(FEED, self.contested)) or a_listing()
            self.contested = self.contested if self.is_contested_forever else ""
            await super().write([replace(known, city="Elsewhere")])
        return await super().write(ours)


async def a_store() -> Contested:
    store = Contested(Renderer("https://cdn.example.com"))
    many = [a_listing(a_downloaded_photo(key=f"X{n}"), a_photo("b", key=f"X{n}"), key=f"X{n}") for n in range(450)]
    many[7] = replace(many[7], hidden=hidden())
    await MemoryListings.write(store, many)
    return store


async def test_a_whole_feed_is_gone_through_and_what_another_wrote_meanwhile_stays() -> None:
    store, told = await a_store(), list[int]()
    done = await force.force(
        store,
        FEED,
        PhotoFilter(),
        Priority.POPULAR,
        lambda: LATER,
        dry_run=False,
        on_progress=lambda so_far: told.append(so_far.looked_at),
    )
    assert (done.looked_at, done.listings, done.photos, done.hidden) == (450, 449, 898, 1)
    assert told == [200, 400, 450]
    contested = await store.get(FEED, "X3")
    assert contested
    assert (contested.city, contested.due_at) == ("Elsewhere", LATER)


async def test_a_dry_run_counts_the_same_and_writes_nothing() -> None:
    store = await a_store()
    before = await everything(store)
    done = await force.force(store, FEED, PhotoFilter(), Priority.POPULAR, lambda: LATER, dry_run=True)
    assert (done.photos, done.bytes_expected) == (898, 898 * 400_000)
    assert await everything(store) == before


async def test_listings_that_are_named_are_read_alone() -> None:
    done = await force.force(
        await a_store(),
        FEED,
        PhotoFilter(listing_keys=("X1", "X7", "X9999")),
        Priority.POPULAR,
        lambda: NOW,
        dry_run=True,
    )
    assert (done.looked_at, done.photos, done.hidden) == (2, 2, 1)


async def test_of_a_listing_that_is_named_and_left_out_it_is_said_why() -> None:
    store = await a_store()
    await store.write([a_listing(key="OLD", feed="closed"), a_listing(key="X1", feed="closed")])
    said = [one async for one in force.explain_left_out(store, ("X1", "OLD", "NEW", "NEW"), [FEED], [FEED, "other"])]
    assert said == [
        "OLD is recorded of feed closed, which is not among the feeds any more: nothing of it is fetched",
        "NEW is not recorded; see: imagectl explain NEW",
    ]
    assert [one async for one in force.explain_left_out(store, ("X3",), ["other"], [FEED, "other"])] == [
        f"X3 is recorded of feed {FEED}; name that with --feed"
    ]


def test_of_photos_without_any_known_size_no_bytes_are_expected() -> None:
    assert Forced(photos=3).bytes_expected is None


async def everything(store: MemoryListings) -> dict[ListingId, Listing]:
    return dict(await store.get_many([(FEED, f"X{n}") for n in range(450)]))


async def test_listings_that_others_keep_changing_are_counted_as_not_written_and_all_others_are_due() -> None:
    store = await a_store()
    store.is_contested_forever = True
    with pytest.raises(Contention, match="1 listing of proptx-idx was not written"):
        await force.force(store, FEED, PhotoFilter(), Priority.POPULAR, lambda: LATER, dry_run=False)
    due = [one.key for one in (await everything(store)).values() if one.due_at == LATER]
    assert (len(due), "X3" in due) == (448, False)
