"""What an operator's tables of listings promise, kept by the store in memory and by MongoDB alike."""

from collections.abc import Sequence

import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Status
from shared.domain.listing import RemovalReason
from shared.domain.priority import Priority
from shared.stores.summaries import ListingFilter, ListingSummary
from tests.builders import FEED, NOW, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.contract.conftest import Listings
from tests.contract.test_listings import due


def keys_of(rows: Sequence[ListingSummary]) -> list[str]:
    return [row.listing_key for row in rows]


async def test_a_row_sums_a_listing_up(listings: Listings) -> None:
    gone = [a_photo(name, failure=Failure(Reason.GONE), attempts=1, not_before=after(50)) for name in ("a", "b")]
    claimed = a_photo("d", not_before=after(90), released_at=NOW, claim=Claim(worker="w", until=after(80)))
    await listings.write([a_listing(*gone, a_downloaded_photo("c"), claimed)])
    (row,) = await listings.search(ListingFilter(feed=FEED), "", 10)
    assert row == ListingSummary(
        feed=FEED, listing_key="X1", standard_status="Active", city="Guelph", hidden=None,
        counts={Status.FAILED: 2, Status.DOWNLOADED: 1, Status.PENDING: 1}, reasons=(Reason.GONE,),
        priority=Priority.ROUTINE, wanting=3, in_flight=1, due_at=after(50),
    )  # fmt: skip
    assert row.photos == 4


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["a(b", "a1", "b1", "b2", "b3"]),
        ({"prefix": "b"}, ["b1", "b2", "b3"]),
        ({"prefix": "a("}, ["a(b"]),
        ({"status": Status.FAILED}, ["b1", "b2"]),
        ({"reason": Reason.GONE}, ["b1"]),
        ({"city": "Toronto"}, ["a1", "b2"]),
        ({"displayed": False}, ["b3"]),
        ({"displayed": True}, ["a(b", "a1", "b1", "b2"]),
        ({"status": Status.FAILED, "city": "Toronto"}, ["b2"]),
        ({"status": Status.FAILED, "city": "Toronto", "reason": Reason.GONE}, []),
        ({"displayed": False, "city": "Guelph", "prefix": "b"}, ["b3"]),
    ],
)
async def test_what_is_asked_for_is_found(listings: Listings, wanted: dict[str, object], found: list[str]) -> None:
    await listings.write(
        [
            a_listing(a_downloaded_photo(key="a1"), key="a1", city="Toronto"),
            a_listing(key="a(b"),
            a_listing(a_photo(key="b1", failure=Failure(Reason.GONE)), key="b1"),
            a_listing(a_photo(key="b2", failure=Failure(Reason.TIMEOUT)), key="b2", city="Toronto"),
            a_listing(a_downloaded_photo(key="b3"), key="b3", hidden=hidden()),
            a_listing(a_downloaded_photo(key="b1", feed="other"), key="b1", feed="other"),
        ]
    )
    assert keys_of(await listings.search(ListingFilter(feed=FEED, **wanted), "", 10)) == found  # type: ignore[arg-type]


async def test_a_search_goes_on_where_it_ended(listings: Listings) -> None:
    await listings.write([a_listing(key=f"k{number}") for number in range(5)])
    first = await listings.search(ListingFilter(feed=FEED, prefix="k"), "", 2)
    second = await listings.search(ListingFilter(feed=FEED, prefix="k"), first[-1].listing_key, 2)
    assert (keys_of(first), keys_of(second)) == (["k0", "k1"], ["k2", "k3"])
    assert keys_of(await listings.search(ListingFilter(feed=FEED), "k3", 2)) == ["k4"]


async def test_a_hidden_listing_says_why(listings: Listings) -> None:
    await listings.write([a_listing(a_downloaded_photo(), hidden=hidden(reason=RemovalReason.OPT_OUT))])
    (row,) = await listings.search(ListingFilter(feed=FEED), "", 10)
    assert (row.hidden, row.due_at, row.wanting) == (RemovalReason.OPT_OUT, None, 0)


async def test_the_queue_is_in_the_order_in_which_listings_are_due(listings: Listings) -> None:
    await listings.write(
        [
            due("late", -9),
            due("later", -1),
            due("seen", -1, Priority.VIEWED),
            due("soon", 5, Priority.VIEWED),
            due("far", 50),
            due("other", -1, feed="other"),
        ]
    )
    assert keys_of(await listings.queue(FEED, NOW, 10, by_age=False)) == ["seen", "late", "later"]
    assert keys_of(await listings.queue(FEED, NOW, 2, by_age=False)) == ["seen", "late"]
    assert keys_of(await listings.queue(FEED, NOW, 1, by_age=True)) == ["late"]
    assert keys_of(await listings.upcoming(FEED, NOW, 10)) == ["soon", "far"]
