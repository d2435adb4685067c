"""Both stores of listings, in memory and in MongoDB, read and write listings by id in the same way."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.freshness import Position, Version
from shared.domain.image import Claim, Photo, image_id, url_key
from shared.domain.listing import Listing, RecordedState, RemovalReason, SetAside, Unannounced
from shared.domain.priority import Priority
from shared.stores import mongo
from shared.stores.errors import StoreUnavailable
from shared.stores.mongo import MongoListings
from tests.builders import FEED, KEY, NOW, a_discard, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.contract.conftest import KEYS, RENDERER, Listings
from tests.contract.listings import keys_of

EVERYTHING = Photo(
    id=image_id(FEED, KEY, "photo-1"),
    object_id="photo-1",
    media_key="k-1",
    url="https://photos.example.com/1.jpg?sig=é",
    url_keys=(url_key("a"), url_key("b")),
    order=0,
    caption="Küche 🏠",
    announced_at=after(0.000001),
    has_own_timestamp=True,
    priority=Priority.SEARCHED,
    not_before=after(9),
    released_at=after(1),
    claim=Claim(worker="w-1", until=after(80)),
    forced_at=after(2),
    attempts=3,
    attempted_at=after(3),
    failure=Failure(Reason.GONE, "photos.example.com answered 404"),
    copy=a_downloaded_photo("photo-1").copy,
)


@pytest.mark.parametrize(
    "listing",
    [
        Listing(feed=FEED, key=KEY, seen_at=NOW),
        a_listing(a_photo()),
        a_listing(EVERYTHING, a_photo("b", announced_at=None)),
        a_listing(
            a_photo(),
            standard_status=None,
            city=None,
            modified_at=None,
            media_changed_at=after(0.000123),
            position=Position(after(0.5), 5, 2**40),
            hidden=hidden(1, 2, RemovalReason.OPT_OUT),
            discards=(a_discard("a"), a_discard("b", whole=True, removing=True, remove_at=after(3))),
            set_aside=(SetAside(media_key="k", reason="why"),),
        ),
        a_listing(*(a_downloaded_photo(f"photo-{index}") for index in range(500))),
    ],
    ids=["bare", "one photo", "every fact", "hidden", "500 photos"],
)
async def test_a_listing_is_read_as_it_was_written(listings: Listings, listing: Listing) -> None:
    assert not await listings.write([listing])
    assert await listings.get(FEED, KEY) == replace(listing, revision=1)


async def test_a_listing_that_is_not_recorded_is_not_found(listings: Listings) -> None:
    await listings.write([a_listing(key="X2")])
    assert await listings.get(FEED, KEY) is None
    assert await listings.get("other", "X2") is None
    found = await listings.get_many([(FEED, "X1"), (FEED, "X2"), ("other", "X2")])
    assert list(found) == [(FEED, "X2")]
    assert await listings.get_many([]) == {}
    assert not await listings.write([])


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key)[:12])
async def test_a_listing_with_an_unusual_key_is_found(listings: Listings, key: str) -> None:
    listing = a_listing(a_photo(key=key), key=key)
    await listings.write([listing])
    assert await listings.get(FEED, key) == replace(listing, revision=1)
    assert keys_of(await listings.by_key(key)) == [key]
    assert keys_of(await listings.due(FEED, NOW, 10)) == [key]


async def test_unusual_keys_identify_different_listings(listings: Listings) -> None:
    assert not await listings.write(a_listing(key=key, city=f"city of {key[:9]!r}") for key in KEYS)
    found = await listings.get_many([(FEED, key) for key in KEYS])
    assert {key: listing.city for (_, key), listing in found.items()} == {key: f"city of {key[:9]!r}" for key in KEYS}


async def test_a_write_raises_the_revision_and_is_refused_for_any_other_revision(listings: Listings) -> None:
    await listings.write([a_listing(city="first")])
    first = await listings.get(FEED, KEY)
    assert first is not None
    assert not await listings.write([replace(first, city="second")])
    for stale in (first, replace(first, revision=0), replace(first, revision=7)):
        assert set(await listings.write([replace(stale, city="third")])) == {(FEED, KEY)}
    second = await listings.get(FEED, KEY)
    assert second is not None
    assert (second.city, second.revision) == ("second", 2)


async def test_a_listing_that_was_deleted_since_it_was_read_is_inserted(listings: Listings) -> None:
    assert not await listings.write([a_listing(revision=3)])
    assert await listings.get(FEED, KEY) == a_listing(revision=4)


async def test_other_listings_are_written_if_one_is_refused(listings: Listings) -> None:
    await listings.write([a_listing(key="X1"), a_listing(key="X2")])
    changes = [a_listing(key=key, revision=revision, city="new") for key, revision in (("X1", 0), ("X2", 1), ("X3", 0))]
    assert set(await listings.write(changes)) == {(FEED, "X1")}
    found = await listings.get_many([(FEED, key) for key in ("X1", "X2", "X3")])
    assert {key: (listing.city, listing.revision) for (_, key), listing in found.items()} == {
        "X1": ("Guelph", 1),
        "X2": ("new", 2),
        "X3": ("new", 1),
    }


@pytest.mark.parametrize("revision", [0, 1])
async def test_one_of_many_concurrent_writers_is_accepted(listings: Listings, revision: int) -> None:
    if revision:
        await listings.write([a_listing()])
    attempts = [listings.write([a_listing(revision=revision, city=f"{writer}")]) for writer in range(8)]
    refused = await asyncio.gather(*attempts)
    winners = [f"{writer}" for writer, ids in enumerate(refused) if not ids]
    written = await listings.get(FEED, KEY)
    assert written is not None
    assert winners == [written.city]
    assert written.revision == revision + 1


async def test_exactly_the_writes_that_are_not_refused_are_stored(listings: Listings) -> None:
    """A write that was stored but reported as refused would be made, and announced, twice."""
    keys = ("X1", "X2", "X3")
    written: Counter[str] = Counter()

    async def write_often() -> None:
        for _ in range(40):
            recorded = await listings.get_many([(FEED, key) for key in keys])
            read = [recorded.get((FEED, key), a_listing(key=key)) for key in keys]
            refused = await listings.write(read)
            written.update(listing.key for listing in read if (listing.feed, listing.key) not in refused)

    await asyncio.gather(*(write_often() for _ in range(8)))
    recorded = await listings.get_many([(FEED, key) for key in keys])
    assert {key: listing.revision for (_, key), listing in recorded.items()} == written


@pytest.mark.parametrize(
    ("after_key", "limit", "expected"), [("", 2, ["a", "b"]), ("b", 2, ["c"]), ("c", 2, []), ("aa", 9, ["b", "c"])]
)
async def test_pages_of_a_feed_are_in_the_order_of_the_listing_key(
    listings: Listings, after_key: str, limit: int, expected: list[str]
) -> None:
    await listings.write([a_listing(key="c"), a_listing(key="a"), a_listing(key="b"), a_listing(key="b", feed="other")])
    assert [listing.key for listing in await listings.page(FEED, after_key, limit)] == expected


async def test_recorded_states_have_version_and_display_of_each_listing(listings: Listings) -> None:
    gone = hidden(reason=RemovalReason.OPT_OUT)
    await listings.write(
        [
            a_listing(a_photo(), media_changed_at=after(0.000001)), a_listing(key="hidden", hidden=gone),
            a_listing(key="elsewhere", feed="other"),
        ]
    )  # fmt: skip
    version = Version(modified_at=NOW, media_changed_at=after(0.000001), position=Position(NOW))
    assert await listings.recorded_states([(FEED, KEY), (FEED, "hidden"), (FEED, "elsewhere"), ("nowhere", KEY)]) == {
        (FEED, KEY): RecordedState(version, is_displayed=True, hidden_by=None),
        (FEED, "hidden"): RecordedState(
            replace(version, media_changed_at=NOW), is_displayed=False, hidden_by=RemovalReason.OPT_OUT
        ),
    }
    assert await listings.recorded_states([]) == {}


async def test_displayed_keys_are_read_in_order_page_by_page(listings: Listings) -> None:
    shown = [a_listing(key=key) for key in ("C", "A", "é", "B")]
    await listings.write([*shown, a_listing(key="AA", hidden=hidden()), a_listing(key="AB", feed="other")])
    assert await listings.displayed_keys(FEED, "", 2) == ["A", "B"]
    assert await listings.displayed_keys(FEED, "B", 9) == ["C", "é"]
    assert await listings.displayed_keys(FEED, "é", 9) == []


async def test_listings_with_photos_claimed_by_a_worker_are_found(listings: Listings) -> None:
    ours, theirs = Claim(worker="w-1", until=after(80)), Claim(worker="w-2", until=after(80))
    await listings.write(
        [
            a_listing(a_photo("a", key="X1", claim=ours), a_photo("b", key="X1", claim=theirs), key="X1"),
            a_listing(a_photo("a", key="X2", claim=theirs), key="X2"),
            a_listing(a_photo("a", key="X3"), key="X3"),
            a_listing(a_photo("a", key="X4", claim=ours), key="X4"),
        ]
    )
    assert sorted(keys_of(await listings.claimed_by("w-1", 9))) == ["X1", "X4"]
    assert len(await listings.claimed_by("w-1", 1)) == 1
    assert keys_of(await listings.claimed_by("w-3", 9)) == []


async def test_marks_of_unannounced_copies_are_found_by_their_time_and_cleared_one_by_one(listings: Listings) -> None:
    old, new = Unannounced("i", NOW, changed=True), Unannounced("j", after(9), changed=False)
    await listings.write([a_listing(key="X1", unannounced=(old, new)), a_listing(key="X2", unannounced=(new,))])
    await listings.write([a_listing(key="X3")])
    assert keys_of(await listings.unannounced(after(1), 9)) == ["X1"]
    assert sorted(keys_of(await listings.unannounced(after(10), 9))) == ["X1", "X2"]
    assert len(await listings.unannounced(after(10), 1)) == 1
    await listings.clear_unannounced([])
    await listings.clear_unannounced([((FEED, "X1"), old), ((FEED, "X2"), old), ((FEED, "nothing"), old)])
    found = await listings.get_many([(FEED, "X1"), (FEED, "X2")])
    assert {key: listing.unannounced for (_, key), listing in found.items()} == {"X1": (new,), "X2": (new,)}
    assert {listing.revision for listing in found.values()} == {1}
    assert keys_of(await listings.unannounced(after(1), 9)) == []
    await listings.clear_unannounced([((FEED, "X1"), new), ((FEED, "X2"), new)])
    assert keys_of(await listings.unannounced(after(10), 9)) == []


async def test_times_are_stored_to_the_millisecond_and_times_of_the_mls_to_the_microsecond(listings: Listings) -> None:
    fine: datetime = after(0.123)
    photo = a_photo(announced_at=after(0.123456), not_before=fine)
    await listings.write([a_listing(photo, modified_at=after(0.000001))])
    found = await listings.get(FEED, KEY)
    assert found is not None
    assert (found.modified_at, found.photos) == (after(0.000001), (photo,))


async def test_an_operators_removals_are_read_as_they_were_written(listings: Listings) -> None:
    hiding = replace(hidden(), off_market_at=after(-0.000001), was_displayed=False, held_until=after(9))
    whole = a_listing(
        is_removed_by_operator=True,
        removed_image_ids=("i1", "i2"),
        hidden=hiding,
        discards=(a_discard(off_market_at=after(0.5), unshown_at=after(2)),),
    )
    await listings.write([whole])
    assert await listings.get(FEED, KEY) == replace(whole, revision=1)


@pytest.mark.servers  # needs no server, but the driver's timeouts take seconds
async def test_calls_to_an_unreachable_database_raise_store_unavailable(unused_tcp_port: int) -> None:
    async with mongo.connect(f"mongodb://127.0.0.1:{unused_tcp_port}/?directConnection=true", "nowhere") as database:
        store = MongoListings(database, RENDERER)
        calls = [store.get(FEED, KEY), store.write([a_listing()]), store.counts(FEED, NOW), mongo.ping(database)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * len(calls)
