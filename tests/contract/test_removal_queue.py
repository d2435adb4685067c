"""Both stores of listings, in memory and in MongoDB, find due and held removals in the same way."""

from dataclasses import replace

from shared.domain.listing import UNTIL_DECIDED, Listing, RemovalReason
from tests.builders import FEED, NOW, a_discard, a_listing, a_photo, after, hidden
from tests.contract.conftest import Listings
from tests.contract.listings import keys_of


async def test_due_removals_of_all_feeds_are_sorted_by_due_time(listings: Listings) -> None:
    await listings.write(
        [
            a_listing(a_photo(key="hidden"), key="hidden", hidden=hidden(remove_at=-1)),
            a_listing(a_photo(key="later"), key="later", hidden=hidden(remove_at=1)),
            a_listing(key="nothing-held", hidden=hidden(remove_at=-9)),
            a_listing(a_photo(key="shown"), key="shown"),
            a_listing(key="superseded", discards=(a_discard(remove_at=after(-5)), a_discard("b", remove_at=after(9)))),
            a_listing(key="now", feed="other", discards=(a_discard(),)),
        ]
    )
    assert keys_of(await listings.removal_due(NOW, 99)) == ["superseded", "hidden", "now"]
    assert keys_of(await listings.removal_due(NOW, 1)) == ["superseded"]
    assert keys_of(await listings.removal_due(after(-99), 99)) == []


def hidden_listing(key: str, since: float = 0, *, feed: str = FEED, **facts: object) -> Listing:
    """Return a listing that was hidden `since` seconds after NOW."""
    gone = replace(hidden(since=since, remove_at=since + 5), **facts)  # type: ignore[arg-type]
    return a_listing(a_photo(key=key, feed=feed), key=key, feed=feed, hidden=gone)


async def test_listings_that_turned_hidden_are_counted_by_feed_reason_and_time(listings: Listings) -> None:
    inactive, opt_out = RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT
    await listings.write(
        [
            *(hidden_listing(f"A{number}", since=number) for number in range(5)),
            hidden_listing("other", since=4, feed="other"),
            hidden_listing("never", since=4, was_displayed=False),
            hidden_listing("owner", since=4, reason=opt_out),
            a_listing(key="shown"),
            a_listing(key="shown of other", feed="other"),
        ]
    )
    assert await listings.turned_hidden(FEED, inactive, after(2), after(99)) == 2
    assert await listings.turned_hidden(FEED, inactive, after(-1), after(2)) == 3
    assert await listings.turned_hidden(FEED, inactive, after(-1), after(99)) == 5
    assert await listings.turned_hidden(FEED, opt_out, after(-1), after(99)) == 1
    assert await listings.turned_hidden("nobody", inactive, after(-1), after(99)) == 0
    assert (await listings.displayed_count(FEED), await listings.displayed_count("nobody")) == (1, 0)


async def test_held_listings_are_found_and_their_removal_is_not_due(listings: Listings) -> None:
    held = [hidden_listing(f"A{number}", since=-9, held_until=UNTIL_DECIDED) for number in range(3)]
    until_later = hidden_listing("kept", since=-9, held_until=after(60))
    owner = hidden_listing("owner", since=-9, held_until=UNTIL_DECIDED, reason=RemovalReason.OPT_OUT)
    await listings.write(
        [
            *held,
            until_later,
            owner,
            hidden_listing("due", since=-9),
            hidden_listing("other", held_until=UNTIL_DECIDED, feed="other"),
        ]
    )
    found = await listings.held(FEED, RemovalReason.LISTING_INACTIVE, 9)
    assert sorted(listing.key for listing in found) == ["A0", "A1", "A2"]
    assert {listing.hidden for listing in found} == {held[0].hidden}
    assert len(await listings.held(FEED, RemovalReason.LISTING_INACTIVE, 2)) == 2
    assert [listing.key for listing in await listings.removal_due(NOW, 9)] == ["due"]
    assert sorted(listing.key for listing in await listings.removal_due(after(60), 9)) == ["due", "kept"]
