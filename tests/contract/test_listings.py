"""What the collection of listings promises, kept by the one in memory and by MongoDB alike."""

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.freshness import Position, Version
from shared.domain.image import Claim, Photo, Status, image_id, url_key
from shared.domain.listing import UNTIL_DECIDED, Listing, RecordedState, RemovalReason, SetAside
from shared.domain.priority import Priority
from shared.stores import mongo
from shared.stores.errors import StoreUnavailable
from shared.stores.mongo import MongoListings
from tests.builders import FEED, KEY, NOW, a_copy, a_discard, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.contract.conftest import KEYS, RENDERER, Listings

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


def keys_of(found: Collection[Listing]) -> list[str]:
    return [one.key for one in found]


def due(key: str, at: float, priority: Priority = Priority.ROUTINE, feed: str = FEED) -> Listing:
    """Return a listing with one photo due so many seconds after NOW."""
    return a_listing(a_photo("a", key=key, feed=feed, not_before=after(at), priority=priority), key=key, feed=feed)


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


async def test_what_is_not_recorded_is_not_found(listings: Listings) -> None:
    await listings.write([a_listing(key="X2")])
    assert await listings.get(FEED, KEY) is None
    assert await listings.get("other", "X2") is None
    found = await listings.get_many([(FEED, "X1"), (FEED, "X2"), ("other", "X2")])
    assert list(found) == [(FEED, "X2")]
    assert await listings.get_many([]) == {}
    assert not await listings.write([])


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key)[:12])
async def test_an_unusual_key_is_a_key_like_any_other(listings: Listings, key: str) -> None:
    listing = a_listing(a_photo(key=key), key=key)
    await listings.write([listing])
    assert await listings.get(FEED, key) == replace(listing, revision=1)
    assert keys_of(await listings.by_key(key)) == [key]
    assert keys_of(await listings.due(FEED, NOW, 10)) == [key]


async def test_unusual_keys_never_meet(listings: Listings) -> None:
    assert not await listings.write(a_listing(key=key, city=f"city of {key[:9]!r}") for key in KEYS)
    found = await listings.get_many([(FEED, key) for key in KEYS])
    assert {key: one.city for (_, key), one in found.items()} == {key: f"city of {key[:9]!r}" for key in KEYS}


async def test_a_write_counts_the_revision_and_a_stale_one_is_refused(listings: Listings) -> None:
    await listings.write([a_listing(city="first")])
    first = await listings.get(FEED, KEY)
    assert first is not None
    assert not await listings.write([replace(first, city="second")])
    for stale in (first, replace(first, revision=0), replace(first, revision=7)):
        assert set(await listings.write([replace(stale, city="third")])) == {(FEED, KEY)}
    second = await listings.get(FEED, KEY)
    assert second is not None
    assert (second.city, second.revision) == ("second", 2)


async def test_what_was_taken_away_by_hand_is_recorded_again(listings: Listings) -> None:
    assert not await listings.write([a_listing(revision=3)])
    assert await listings.get(FEED, KEY) == a_listing(revision=4)


async def test_one_refusal_does_not_hold_up_the_others(listings: Listings) -> None:
    await listings.write([a_listing(key="X1"), a_listing(key="X2")])
    changes = [a_listing(key=key, revision=revision, city="new") for key, revision in (("X1", 0), ("X2", 1), ("X3", 0))]
    assert set(await listings.write(changes)) == {(FEED, "X1")}
    found = await listings.get_many([(FEED, key) for key in ("X1", "X2", "X3")])
    assert {key: (one.city, one.revision) for (_, key), one in found.items()} == {
        "X1": ("Guelph", 1),
        "X2": ("new", 2),
        "X3": ("new", 1),
    }


@pytest.mark.parametrize("revision", [0, 1])
async def test_of_many_writers_at_once_one_wins(listings: Listings, revision: int) -> None:
    if revision:
        await listings.write([a_listing()])
    attempts = [listings.write([a_listing(revision=revision, city=f"{writer}")]) for writer in range(8)]
    refused = await asyncio.gather(*attempts)
    winners = [f"{writer}" for writer, ids in enumerate(refused) if not ids]
    written = await listings.get(FEED, KEY)
    assert written is not None
    assert winners == [written.city]
    assert written.revision == revision + 1


async def test_whoever_is_not_refused_has_written_and_whoever_is_has_not(listings: Listings) -> None:
    """What one wrote and was told to be refused is lost: nobody says what was marked."""
    keys = ("X1", "X2", "X3")
    written: Counter[str] = Counter()

    async def write_often() -> None:
        for _ in range(40):
            known = await listings.get_many([(FEED, key) for key in keys])
            read = [known.get((FEED, key), a_listing(key=key)) for key in keys]
            refused = await listings.write(read)
            written.update(one.key for one in read if (one.feed, one.key) not in refused)

    await asyncio.gather(*(write_often() for _ in range(8)))
    known = await listings.get_many([(FEED, key) for key in keys])
    assert {key: one.revision for (_, key), one in known.items()} == written


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
async def test_the_most_urgent_are_due_first_and_the_oldest_of_them(
    listings: Listings, limit: int, expected: list[str]
) -> None:
    """A photo that is not due yet, or in work, takes none of its listing's others forward."""
    await listings.write(DUE)
    assert keys_of(await listings.due(FEED, NOW, limit)) == expected


@pytest.mark.parametrize(
    ("after_key", "limit", "expected"), [("", 2, ["a", "b"]), ("b", 2, ["c"]), ("c", 2, []), ("aa", 9, ["b", "c"])]
)
async def test_a_feed_is_gone_through_page_by_page(
    listings: Listings, after_key: str, limit: int, expected: list[str]
) -> None:
    await listings.write([a_listing(key="c"), a_listing(key="a"), a_listing(key="b"), a_listing(key="b", feed="other")])
    assert [one.key for one in await listings.page(FEED, after_key, limit)] == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (99, ["routine-oldest", "routine-old", "searched", "viewed", "routine-new", "popular-now"]),
        (2, ["routine-oldest", "routine-old"]),
    ],
)
async def test_by_age_alone_the_oldest_is_due_first(listings: Listings, limit: int, expected: list[str]) -> None:
    await listings.write(DUE)
    assert keys_of(await listings.oldest_due(FEED, NOW, limit)) == expected


async def test_what_is_done_is_no_longer_due(listings: Listings) -> None:
    await listings.write([due("X1", 0)])
    (listing,) = await listings.due(FEED, NOW, 1)
    await listings.write([listing.with_photos([a_downloaded_photo("a")])])
    assert keys_of(await listings.due(FEED, after(99), 9)) == []
    assert keys_of(await listings.oldest_due(FEED, after(99), 9)) == []


async def test_what_the_mls_last_said_is_read_without_the_photos(listings: Listings) -> None:
    gone = hidden(reason=RemovalReason.OPT_OUT)
    await listings.write(
        [
            a_listing(a_photo(), media_changed_at=after(0.000001)), a_listing(key="hidden", hidden=gone),
            a_listing(key="elsewhere", feed="other"),
        ]
    )  # fmt: skip
    said = Version(modified_at=NOW, media_changed_at=after(0.000001), position=Position(NOW))
    assert await listings.recorded_states([(FEED, KEY), (FEED, "hidden"), (FEED, "elsewhere"), ("nowhere", KEY)]) == {
        (FEED, KEY): RecordedState(said, is_displayed=True, hidden_by=None),
        (FEED, "hidden"): RecordedState(
            replace(said, media_changed_at=NOW), is_displayed=False, hidden_by=RemovalReason.OPT_OUT
        ),
    }
    assert await listings.recorded_states([]) == {}


async def test_displayed_keys_come_in_order_page_by_page(listings: Listings) -> None:
    shown = [a_listing(key=key) for key in ("C", "A", "é", "B")]
    await listings.write([*shown, a_listing(key="AA", hidden=hidden()), a_listing(key="AB", feed="other")])
    assert await listings.displayed_keys(FEED, "", 2) == ["A", "B"]
    assert await listings.displayed_keys(FEED, "B", 9) == ["C", "é"]
    assert await listings.displayed_keys(FEED, "é", 9) == []


async def test_copies_that_were_not_asked_for_lately_are_found_the_longest_ago_first(listings: Listings) -> None:
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
async def test_ahead_in_the_queue_is_the_more_urgent_and_the_longer_due(
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


async def test_what_is_released_and_unfinished_is_in_work_until_the_lease_ends(listings: Listings) -> None:
    assert await listings.in_flight(FEED, NOW) == 0
    two = a_listing(lifecycle.release(a_photo("a"), NOW), lifecycle.release(a_photo("b"), NOW), a_photo("c"))
    other = a_listing(lifecycle.release(a_photo("a", key="X2"), after(-60)), key="X2")
    not_shown = a_listing(lifecycle.release(a_photo("a", key="X3"), NOW), key="X3", hidden=hidden())
    elsewhere = a_listing(lifecycle.release(a_photo("a", feed="other"), NOW), feed="other")
    await listings.write([two, other, not_shown, elsewhere])
    assert await listings.in_flight(FEED, NOW) == 3
    assert await listings.in_flight(FEED, after(60)) == 2
    assert await listings.in_flight(FEED, after(120)) == 0


async def test_removals_are_due_the_oldest_first_in_every_feed(listings: Listings) -> None:
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


async def test_a_workers_claims_are_found(listings: Listings) -> None:
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


async def test_a_key_is_found_in_every_feed(listings: Listings) -> None:
    await listings.write([a_listing(), a_listing(feed="other", hidden=hidden()), a_listing(key="X2")])
    assert sorted(one.feed for one in await listings.by_key(KEY)) == ["other", FEED]
    assert await listings.by_key("X3") == []


async def test_an_image_is_found_by_its_id_and_its_urls(listings: Listings) -> None:
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


async def test_a_photo_that_is_no_longer_shown_is_not_found(listings: Listings) -> None:
    await listings.write([a_listing(a_photo("a"))])
    await listings.write([a_listing(a_photo("b"), revision=1)])
    assert await listings.by_image(image_id(FEED, KEY, "a")) is None
    assert await listings.by_url_key(url_key("https://photos.example.com/a.jpg")) == []


@pytest.mark.parametrize("at_once", [1, 2, 5_000])
async def test_a_feed_is_counted(listings: Listings, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.stores.mongo.listing_reports._COUNT_BATCH_SIZE", at_once)
    failed = a_photo("f", failure=Failure(Reason.TIMEOUT), not_before=after(60))
    outdated = a_downloaded_photo("o", announced_at=after(1), priority=Priority.VIEWED, not_before=after(5))
    await listings.write(
        [
            a_listing(a_photo("p"), failed, a_downloaded_photo("d"), a_downloaded_photo("e"), key="X1"),
            a_listing(outdated, lifecycle.release(a_photo("p"), NOW), key="X2"),
            a_listing(a_photo("p", not_before=after(-9)), a_downloaded_photo("d"), key="X3", hidden=hidden()),
            a_listing(key="X4"),
            a_listing(a_photo("p", not_before=after(-99)), feed="other"),
        ]
    )
    found = await listings.counts(FEED, NOW)
    assert (found.listings, found.displayed, found.in_flight, found.oldest_due_at) == (4, 3, 1, NOW)
    assert found.images == {Status.PENDING: 3, Status.FAILED: 1, Status.DOWNLOADED: 3, Status.OUTDATED: 1}
    assert found.queued == {Priority.VIEWED.value: 1, Priority.ROUTINE.value: 3}


async def test_the_feeds_that_listings_are_recorded_of_are_named(listings: Listings) -> None:
    assert await listings.feeds() == []
    await listings.write(
        a_listing(key=key, feed=feed, hidden=hidden() if key == "X2" else None)
        for key, feed in (("X1", "b"), ("X1", "a-b"), ("X2", "c"), ("X3", "b"))
    )
    assert await listings.feeds() == ["a-b", "b", "c"]


async def test_a_feed_without_listings_counts_nothing(listings: Listings) -> None:
    found = await listings.counts(FEED, NOW)
    assert (found.listings, found.displayed, found.in_flight, found.oldest_due_at) == (0, 0, 0, None)
    assert set(found.images.values()) == {0}
    assert found.queued == {}


@pytest.mark.servers  # it needs none, but the driver's patience lasts for seconds
async def test_a_database_that_is_away_is_said_to_be_unavailable(unused_tcp_port: int) -> None:
    async with mongo.connect(f"mongodb://127.0.0.1:{unused_tcp_port}/?directConnection=true", "nowhere") as database:
        store = MongoListings(database, RENDERER)
        calls = [store.get(FEED, KEY), store.write([a_listing()]), store.counts(FEED, NOW), mongo.ping(database)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * len(calls)


async def test_moments_are_kept_to_the_millisecond_and_those_of_the_mls_to_the_microsecond(listings: Listings) -> None:
    fine: datetime = after(0.123)
    photo = a_photo(announced_at=after(0.123456), not_before=fine)
    await listings.write([a_listing(photo, modified_at=after(0.000001))])
    found = await listings.get(FEED, KEY)
    assert found is not None
    assert (found.modified_at, found.photos) == (after(0.000001), (photo,))


def away(key: str, since: float = 0, *, feed: str = FEED, **facts: object) -> Listing:
    """Return a listing that turned hidden."""
    gone = replace(hidden(since=since, remove_at=since + 5), **facts)  # type: ignore[arg-type]
    return a_listing(a_photo(key=key, feed=feed), key=key, feed=feed, hidden=gone)


async def test_what_turned_hidden_is_counted_by_feed_reason_and_time(listings: Listings) -> None:
    inactive, opt_out = RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT
    await listings.write(
        [
            *(away(f"A{number}", since=number) for number in range(5)),
            away("other", since=4, feed="other"),
            away("never", since=4, was_displayed=False),
            away("owner", since=4, reason=opt_out),
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


async def test_what_is_held_for_a_decision_is_found_and_is_not_due(listings: Listings) -> None:
    held = [away(f"A{number}", since=-9, held_until=UNTIL_DECIDED) for number in range(3)]
    kept = away("kept", since=-9, held_until=after(60))
    owner = away("owner", since=-9, held_until=UNTIL_DECIDED, reason=RemovalReason.OPT_OUT)
    await listings.write(
        [*held, kept, owner, away("due", since=-9), away("other", held_until=UNTIL_DECIDED, feed="other")]
    )
    found = await listings.held(FEED, RemovalReason.LISTING_INACTIVE, 9)
    assert sorted(one.key for one in found) == ["A0", "A1", "A2"]
    assert {one.hidden for one in found} == {held[0].hidden}
    assert len(await listings.held(FEED, RemovalReason.LISTING_INACTIVE, 2)) == 2
    assert [one.key for one in await listings.removal_due(NOW, 9)] == ["due"]
    assert sorted(one.key for one in await listings.removal_due(after(60), 9)) == ["due", "kept"]


async def test_what_an_operator_had_removed_is_read_as_it_was_written(listings: Listings) -> None:
    left = replace(hidden(), off_market_at=after(-0.000001), was_displayed=False, held_until=after(9))
    whole = a_listing(
        is_removed_by_operator=True,
        removed_image_ids=("i1", "i2"),
        hidden=left,
        discards=(a_discard(off_market_at=after(0.5), unshown_at=after(2)),),
    )
    await listings.write([whole])
    assert await listings.get(FEED, KEY) == replace(whole, revision=1)
