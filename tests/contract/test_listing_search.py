"""Both stores of listings, in memory and in MongoDB, find listings for operators in the same way."""

import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Status, image_id, url_key
from shared.domain.listing import RemovalReason
from shared.domain.priority import Priority
from shared.stores.summaries import ListingFilter, ListingSummary
from tests.builders import FEED, KEY, NOW, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.contract.conftest import Listings
from tests.contract.listings import keys_of, summary_keys


async def test_a_listing_key_is_found_in_every_feed(listings: Listings) -> None:
    await listings.write([a_listing(), a_listing(feed="other", hidden=hidden()), a_listing(key="X2")])
    assert sorted(listing.feed for listing in await listings.by_key(KEY)) == ["other", FEED]
    assert await listings.by_key("X3") == []


async def test_a_listing_is_found_by_an_images_id_and_by_its_urls(listings: Listings) -> None:
    both = a_photo("b", key="X2", url_keys=(url_key("u"), url_key("large u")))
    await listings.write([a_listing(a_photo("a"), key="X1"), a_listing(a_photo("a", key="X2"), both, key="X2")])
    found = await listings.by_image(both.id)
    assert found is not None
    assert found.key == "X2"
    assert await listings.by_image("nothing") is None
    assert keys_of(await listings.by_url_key(url_key("large u"))) == ["X2"]
    shared = url_key("https://photos.example.com/a.jpg")
    assert sorted(keys_of(await listings.by_url_key(shared))) == ["X1", "X2"]
    assert await listings.by_url_key(url_key("nothing")) == []


async def test_a_photo_that_its_listing_no_longer_shows_is_not_found(listings: Listings) -> None:
    await listings.write([a_listing(a_photo("a"))])
    await listings.write([a_listing(a_photo("b"), revision=1)])
    assert await listings.by_image(image_id(FEED, KEY, "a")) is None
    assert await listings.by_url_key(url_key("https://photos.example.com/a.jpg")) == []


async def test_a_summary_has_a_listings_counts_and_failures(listings: Listings) -> None:
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


async def test_the_summary_of_a_hidden_listing_has_the_reason(listings: Listings) -> None:
    await listings.write([a_listing(a_downloaded_photo(), hidden=hidden(reason=RemovalReason.OPT_OUT))])
    (row,) = await listings.search(ListingFilter(feed=FEED), "", 10)
    assert (row.hidden, row.due_at, row.wanting) == (RemovalReason.OPT_OUT, None, 0)


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
async def test_search_applies_all_conditions_of_a_filter(
    listings: Listings, wanted: dict[str, object], found: list[str]
) -> None:
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
    assert summary_keys(await listings.search(ListingFilter(feed=FEED, **wanted), "", 10)) == found  # type: ignore[arg-type]


async def test_a_search_continues_behind_the_last_key(listings: Listings) -> None:
    await listings.write([a_listing(key=f"k{number}") for number in range(5)])
    first = await listings.search(ListingFilter(feed=FEED, prefix="k"), "", 2)
    second = await listings.search(ListingFilter(feed=FEED, prefix="k"), first[-1].listing_key, 2)
    assert (summary_keys(first), summary_keys(second)) == (["k0", "k1"], ["k2", "k3"])
    assert summary_keys(await listings.search(ListingFilter(feed=FEED), "k3", 2)) == ["k4"]
