"""Both stores of listings, in memory and in MongoDB, sort and count due photos in the same way."""

from dataclasses import replace
from typing import Any

import pytest

from shared.domain import lifecycle
from shared.domain.image import Photo
from shared.domain.priority import Priority
from tests.builders import FEED, NOW, a_copy, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.contract.conftest import Listings
from tests.contract.listings import due, keys_of

DUE = [
    due("routine-old", -9),
    due("routine-new", -1),
    due("viewed", -2, Priority.VIEWED),
    due("searched", -5, Priority.SEARCHED),
    due("popular-now", 0, Priority.POPULAR),
    due("viewed-later", 1, Priority.VIEWED),
    due("other-feed", -99, Priority.VIEWED, feed="other"),
    a_listing(
        a_photo("a", key="routine-oldest", not_before=after(-12)),
        a_photo("b", key="routine-oldest", not_before=after(1), priority=Priority.VIEWED),
        key="routine-oldest",
    ),
    a_listing(a_downloaded_photo(key="held"), key="held"),
    a_listing(a_photo(key="hidden", not_before=after(-99)), key="hidden", hidden=hidden()),
    a_listing(key="empty"),
]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (99, ["viewed", "searched", "popular-now", "routine-oldest", "routine-old", "routine-new"]),
        (4, ["viewed", "searched", "popular-now", "routine-oldest"]),
        (1, ["viewed"]),
    ],
)
async def test_due_listings_are_sorted_by_priority_then_due_time(
    listings: Listings, limit: int, expected: list[str]
) -> None:
    """A photo that is not due yet does not raise the priority of its listing's other photos."""
    await listings.write(DUE)
    assert keys_of(await listings.due(FEED, NOW, limit)) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (99, ["routine-oldest", "routine-old", "searched", "viewed", "routine-new", "popular-now"]),
        (2, ["routine-oldest", "routine-old"]),
    ],
)
async def test_oldest_due_listings_are_sorted_by_due_time(listings: Listings, limit: int, expected: list[str]) -> None:
    await listings.write(DUE)
    assert keys_of(await listings.oldest_due(FEED, NOW, limit)) == expected


async def test_a_listing_whose_photos_are_downloaded_is_not_due(listings: Listings) -> None:
    await listings.write([due("X1", 0)])
    (listing,) = await listings.due(FEED, NOW, 1)
    await listings.write([listing.with_photos([a_downloaded_photo("a")])])
    assert keys_of(await listings.due(FEED, after(99), 9)) == []
    assert keys_of(await listings.oldest_due(FEED, after(99), 9)) == []


async def test_released_photos_are_in_flight_until_their_lease_ends(listings: Listings) -> None:
    assert await listings.in_flight(FEED, NOW) == 0
    two = a_listing(lifecycle.release(a_photo("a"), NOW), lifecycle.release(a_photo("b"), NOW), a_photo("c"))
    other = a_listing(lifecycle.release(a_photo("a", key="X2"), after(-60)), key="X2")
    not_shown = a_listing(lifecycle.release(a_photo("a", key="X3"), NOW), key="X3", hidden=hidden())
    elsewhere = a_listing(lifecycle.release(a_photo("a", feed="other"), NOW), feed="other")
    await listings.write([two, other, not_shown, elsewhere])
    assert await listings.in_flight(FEED, NOW) == 3
    assert await listings.in_flight(FEED, after(60)) == 2
    assert await listings.in_flight(FEED, after(120)) == 0


@pytest.mark.parametrize(
    ("priority", "due_at", "ahead"),
    [
        (Priority.ROUTINE, -5, 4),
        (Priority.ROUTINE, 10, 6),
        (Priority.ROUTINE, 60, 8),
        (Priority.POPULAR, -5, 1),
        (Priority.VIEWED, 60, 2),
        (Priority.VIEWED, -30, 0),
    ],
)
async def test_photos_that_are_more_urgent_or_due_longer_are_ahead(
    listings: Listings, priority: Priority, due_at: float, ahead: int
) -> None:
    two = [a_photo(name, key="two", not_before=NOW) for name in "ab"]
    later = a_photo("c", key="two", not_before=after(30), priority=Priority.VIEWED)
    await listings.write(
        [
            due("viewed", -1, Priority.VIEWED), due("popular", -2, Priority.POPULAR), due("old", -20),
            due("older", -30), due("later", 30), a_listing(*two, later, key="two"),
            due("elsewhere", -50, Priority.VIEWED, feed="other"),
        ]
    )  # fmt: skip
    assert await listings.ahead_of(FEED, priority, after(due_at), after(1)) == ahead


async def test_copies_due_for_a_recheck_are_sorted_by_their_last_check(listings: Listings) -> None:
    def held(key: str, checked_at: float, feed: str = FEED, **facts: Any) -> Photo:
        copy = a_copy("h", key=key, feed=feed, checked_at=after(checked_at), **facts)
        return a_downloaded_photo("h", key=key, feed=feed, copy=copy)

    await listings.write(
        [
            a_listing(held("new", 10), key="new"),
            a_listing(held("old", -10), held("old", 10), key="old"),
            a_listing(held("older", -20), key="older"),
            a_listing(held("hidden", -10), key="hidden", hidden=hidden()),
            a_listing(held("unconditional", -10, etag=None), key="unconditional"),
            a_listing(replace(held("forced", -10), forced_at=NOW), key="forced"),
            a_listing(replace(held("outdated", -10), announced_at=after(5)), key="outdated"),
            a_listing(held("elsewhere", -10, "other"), key="elsewhere", feed="other"),
        ]
    )
    assert keys_of(await listings.recheck_due(FEED, NOW, 9)) == ["older", "old"]
    assert keys_of(await listings.recheck_due(FEED, NOW, 1)) == ["older"]
    assert await listings.recheck_count(FEED, NOW) == 2
    assert await listings.recheck_count(FEED, after(-60)) == 0
