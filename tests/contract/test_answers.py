"""Both stores of answers, in memory and in MongoDB, answer for displayed listings in the same way."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import orjson
import pytest

from shared.domain.image import image_id, url_key
from shared.domain.listing import Listing
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.answers import Answer, Answers
from shared.stores.documents import ListingId
from shared.stores.errors import StoreUnavailable
from shared.stores.memory import MemoryListings
from shared.stores.mongo import MongoAnswers, MongoListings
from tests.builders import FEED, KEY, NOW, a_discard, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.contract.conftest import KEYS, RENDERER, Listings
from tests.servers import Namespace


async def test_photos_of_displayed_listings_are_found_by_id_and_by_url(listings: Listings, answers: Answers) -> None:
    late = a_photo("b", key="X2", url_keys=(url_key("u"), url_key("large u")), not_before=after(9))
    leaving = image_id(FEED, "X4", "a")
    await listings.write(
        [
            a_listing(a_photo("a"), a_downloaded_photo("b"), key="X1"),
            a_listing(a_photo("a", key="X2"), late, key="X2"),
            a_listing(a_photo("a", key="X3"), key="X3", hidden=hidden()),
            a_listing(a_photo("a", key="X4"), key="X4", discards=(replace(a_discard(whole=True), image_id=leaving),)),
        ]
    )

    async def found(ids: list[str], urls: list[str]) -> list[tuple[str, str, datetime | None]]:
        found_photos = await answers.showing(ids, [url_key(url) for url in urls])
        return sorted((shown.listing_key, shown.photo.object_id, shown.due_at) for shown in found_photos)

    ids = [image_id(FEED, key, name) for key in ("X1", "X2", "X3", "X4") for name in "ab"]
    everything = [("X1", "a", NOW), ("X1", "b", None), ("X2", "a", NOW), ("X2", "b", after(9)), ("X4", "a", None)]
    assert await found(ids, []) == everything
    assert await found([late.id, "nothing"], []) == [("X2", "b", after(9))]
    assert await found([], ["large u", "nothing"]) == [("X2", "b", after(9))]
    assert await found([], ["https://photos.example.com/a.jpg"]) == [everything[0], everything[2], everything[4]]
    assert await found([ids[0]], ["u"]) == [("X1", "a", NOW), ("X2", "b", after(9))]
    assert await found(["$photos.id", "$$this.id"], []) == []
    assert await found([late.id, "$$this.id"], ["$$key"]) == [("X2", "b", after(9))], "an id is no expression"
    assert await found([], []) == []
    (whole,) = await answers.showing([late.id], [])
    assert whole.photo == replace(late, order=1)


async def test_a_photos_answer_is_found_by_each_of_its_urls(listings: Listings, answers: Answers) -> None:
    two = url_key("https://photos.example.com/a.jpg")
    held = a_downloaded_photo("h", key="X2", url_keys=(url_key("https://h"),))
    written = [
        a_listing(a_photo("b"), a_photo("a", url_keys=(two, url_key("large"))), key="X1"),
        a_listing(held, a_photo("a", key="X2", forced_at=NOW), key="X2"),
        a_listing(a_photo("a", key="X3"), key="X3", hidden=hidden()),
    ]
    await listings.write(written)

    async def found(*urls: str, every: bool = True) -> list[tuple[str, str, bool, bool]]:
        photos = await answers.photo_answers([url_key(url) for url in urls], every=every)
        for photo in photos:
            (whole,) = await answers.answers([photo.listing_key], None)
            assert photo.json in whole.rendered
            assert orjson.loads(photo.json)["id"] == photo.image_id
        return sorted((photo.listing_key, photo.image_id, photo.has_copy, photo.is_missing) for photo in photos)

    first, second = ("X1", image_id(FEED, KEY, "a"), False, True), ("X2", image_id(FEED, "X2", "a"), False, True)
    assert await found("https://photos.example.com/a.jpg") == [first, second]
    assert await found("large", "nothing") == [first]
    assert await found("https://h") == [("X2", held.id, True, False)]
    every = [first, second, ("X2", held.id, True, False)]
    assert await found("https://h", "https://photos.example.com/a.jpg") == sorted(every)
    assert await found("https://h", "https://photos.example.com/a.jpg", every=False) == [
        first,
        ("X2", held.id, True, False),
    ]
    assert await found("large", every=False) == [first]
    assert await found() == await found("nothing") == await found("nothing", every=False) == []


async def test_missing_photos_of_an_answer_are_those_that_want_an_attempt(listings: Listings, answers: Answers) -> None:
    outdated = a_downloaded_photo("o", announced_at=after(1))
    spent = a_photo("s", used_url_key=url_key("https://photos.example.com/s.jpg"))
    await listings.write([a_listing(a_downloaded_photo("h", forced_at=NOW), a_photo("p"), outdated, spent)])
    (answer,) = await answers.answers([KEY], 1)
    assert answer.missing == {image_id(FEED, KEY, name): place for name, place in (("p", 1), ("o", 2))}


def ids_in(answer: Answer) -> list[str]:
    return [orjson.loads(fragment)["id"] for fragment in answer.rendered]


async def test_an_answer_has_the_fragments_of_all_photos_in_order(listings: Listings, answers: Answers) -> None:
    listing = a_listing(a_photo("z"), a_downloaded_photo("a"), a_photo("m"))
    await listings.write([listing])
    (answer,) = await answers.answers([KEY], None)
    assert (answer.feed, answer.listing_key) == (FEED, KEY)
    assert list(answer.missing) == [listing.photos[0].id, listing.photos[2].id]
    assert list(answer.rendered) == RENDERER.fragments(listing)
    assert ids_in(answer) == [photo.id for photo in listing.photos]


@pytest.mark.parametrize(("photos", "expected"), [(None, 3), (1, 1), (2, 2), (3, 3), (9, 3)])
async def test_an_answer_has_at_most_the_requested_number_of_photos(
    listings: Listings, answers: Answers, photos: int | None, expected: int
) -> None:
    await listings.write([a_listing(a_photo("a"), a_photo("b"), a_photo("c"))])
    (answer,) = await answers.answers([KEY], photos)
    assert ids_in(answer) == [image_id(FEED, KEY, name) for name in "abc"[:expected]]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["X1", "X2", "X3", "X4"], [("other", "X1"), (FEED, "X1"), (FEED, "X3")]),
        (["X3", "X3"], [(FEED, "X3")]),
        (["X2"], []),
        ([], []),
    ],
)
async def test_only_displayed_listings_have_answers(
    listings: Listings, answers: Answers, keys: Sequence[str], expected: list[tuple[str, str]]
) -> None:
    await listings.write(
        [
            a_listing(a_photo(), key="X1"),
            a_listing(a_photo(), key="X1", feed="other"),
            a_listing(a_photo(), key="X2", hidden=hidden()),
            a_listing(key="X3"),
        ]
    )
    found = await answers.answers(keys, None)
    assert sorted((answer.feed, answer.listing_key) for answer in found) == expected


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key)[:12])
async def test_a_listing_with_an_unusual_key_has_an_answer(listings: Listings, answers: Answers, key: str) -> None:
    await listings.write([a_listing(a_photo(key=key), key=key)])
    assert [answer.listing_key for answer in await answers.answers([key], None)] == [key]


class Databases:
    """The two connections to one database; makes stores for resolvers with different public addresses."""

    def __init__(self, writing: mongo.Database, reading: mongo.AnswersDatabase) -> None:
        self.writing = writing
        self._reading = reading

    def stores(self, address: str) -> tuple[MongoListings, MongoAnswers]:
        """Return the stores of a resolver with this public address."""
        renderer = Renderer(address)
        listings = MongoListings(self.writing, renderer)
        return listings, MongoAnswers(self._reading, listings, renderer)


@pytest.fixture
async def databases(namespace: Namespace) -> AsyncIterator[Databases]:
    where = namespace.servers.mongo, namespace.db
    async with mongo.connect(*where) as writing, mongo.connect_for_answers(*where) as reading:
        yield Databases(writing, reading)
        await writing.client.drop_database(namespace.db)


async def test_fragments_of_other_settings_are_rendered_anew_and_written_once(databases: Databases) -> None:
    listing, newer = a_listing(a_downloaded_photo("a"), a_downloaded_photo("b")), Renderer("https://new.example.com")
    await databases.stores("https://old.example.com")[0].write([listing])
    listings, answers = databases.stores("https://new.example.com")
    (photo,) = await answers.photo_answers(listing.photos[1].url_keys, every=False)
    recorded = await databases.writing["listings"].find_one({})
    (answer,) = await answers.answers([KEY], 1)
    (unchanged,) = await databases.writing["listings"].find().to_list(None)
    assert [*answer.rendered, photo.json] == newer.fragments(listing)
    assert recorded == unchanged, "the second read finds it rendered, and writes nothing"
    assert [rendered["json"] for rendered in unchanged["rendered"]] == newer.fragments(listing)
    assert await listings.get(FEED, KEY) == replace(listing, revision=2)


async def test_a_listing_hidden_while_it_is_rendered_anew_has_no_answer(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = databases.stores("https://old.example.com")
    await old.write([a_listing(a_downloaded_photo("a"))])
    listings, answers = databases.stores("https://new.example.com")
    read = listings.get_many

    async def read_late(ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        (listing,) = (await read(ids)).values()
        await old.write([replace(listing, hidden=hidden())])
        return await read(ids)

    monkeypatch.setattr(listings, "get_many", read_late)
    assert await answers.answers([KEY], None) == []


async def test_processes_with_different_settings_rewrite_a_listing_once_each(databases: Databases) -> None:
    addresses = ["https://a.example.com", "https://b.example.com"]
    stores = [databases.stores(address) for address in addresses]
    (listings, _), _ = stores
    await listings.write([a_listing(a_downloaded_photo("a"))])
    for _ in range(5):
        for (_, answers), address in zip(stores, addresses, strict=True):
            (answer,) = await answers.answers([KEY], None)
            assert f"{address}/" in answer.rendered[0]
    found = await listings.get(FEED, KEY)
    assert found
    assert found.revision == 3, "once each"


@pytest.mark.parametrize("failure", ["it fails", "it hangs"])
async def test_an_answer_is_given_although_the_rewrite_fails_or_hangs(
    databases: Databases, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot(*_: object) -> None:
        if failure == "it fails":
            raise StoreUnavailable("full")
        await asyncio.sleep(60)

    await databases.stores("https://old.example.com")[0].write([a_listing(a_downloaded_photo("a"))])
    listings, answers = databases.stores("https://new.example.com")
    monkeypatch.setattr(listings, "write", cannot)
    (answer,) = await asyncio.wait_for(answers.answers([KEY], None), 5)
    assert "https://new.example.com/" in answer.rendered[0]


@pytest.mark.servers  # needs no server, but the driver's timeouts take seconds
async def test_answers_of_an_unreachable_database_raise_store_unavailable(unused_tcp_port: int) -> None:
    uri = f"mongodb://127.0.0.1:{unused_tcp_port}/?directConnection=true"
    async with mongo.connect_for_answers(uri, "nowhere") as reading:
        answers = MongoAnswers(reading, MemoryListings(RENDERER), RENDERER)
        calls = [
            answers.answers([KEY], None),
            answers.photo_answers(["u"], every=True),
            answers.showing(["i"], ["u"]),
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * len(calls)
