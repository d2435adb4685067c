"""Are photos of a feed whose URLs die fetched with URLs that were just read, and never twice with the same?"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.downloader.fresh_urls import FreshUrls, UrlsUnavailable
from services.downloader.outcomes import Outcome
from services.downloader.permit import Permit
from services.downloader.url_sources import ApiUrls, HookUrls
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.origin_budget import codec
from shared.origin_budget.ledger import Ledger, Pause
from shared.origin_budget.moments import LONG_AGO
from shared.reso.feed_reader import FeedReader
from shared.reso.odata import MlsClient
from shared.stores.documents import ListingId
from tests.builders import FEED, NOW, a_feed, a_listing, a_photo, a_record, a_row, after
from tests.downloading import FakeDownloads, HandlerRun, a_handler_run

DYING = a_feed(refresh_urls=True, single_use_urls=True, batch_pause_seconds=0.0, retry_base_seconds=0.1)


class FakeSource:
    """A source whose URLs are signed anew at each reading: `fresh-1-a` for photo `a` at the first, and so on.

    `missing` are the photos, by object id, that it does not have. `error`, if set, is raised.
    """

    def __init__(self) -> None:
        self.readings: list[list[str]] = []
        self.missing: set[str] = set()
        self.error: UrlsUnavailable | None = None
        self.is_signed_anew = True

    async def read(self, listings: Sequence[Listing]) -> Mapping[ListingId, Mapping[str, str]]:
        self.readings.append([listing.key for listing in listings])
        if self.error:
            raise self.error
        number = len(self.readings) if self.is_signed_anew else 1
        return {
            (listing.feed, listing.key): {
                photo.id: f"https://photos.example.com/fresh-{number}-{photo.object_id}"
                for photo in listing.photos
                if photo.object_id not in self.missing
            }
            for listing in listings
        }


class Downloads(FakeDownloads):
    """Downloads that end at once; `urls` are those that were requested, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    async def download(self, feed: Feed, listing_key: str, photo: Photo, permit: Permit) -> Outcome:
        self.urls.append(photo.url.removeprefix("https://photos.example.com/"))
        self.finish(photo.object_id)
        return await super().download(feed, listing_key, photo, permit)


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def downloads() -> Downloads:
    return Downloads()


@pytest.fixture
async def run(source: FakeSource, downloads: Downloads) -> AsyncIterator[HandlerRun]:
    async with a_handler_run(DYING, downloads=downloads, url_source=lambda feed, _: source) as started:
        yield started


async def test_photos_are_fetched_with_urls_that_were_read_for_all_listings_of_a_group_at_once(
    run: HandlerRun, source: FakeSource, downloads: Downloads
) -> None:
    await run.request("X1", "a", "X2", "b")
    assert source.readings == [["X1", "X2"]]
    assert sorted(downloads.urls) == ["fresh-1-a", "fresh-1-b"]
    photo = await run.photo("X1")
    assert photo.copy
    assert not photo.waits_for_new_url
    assert photo.url_keys == a_photo("a", key="X1").url_keys, "found by the announced URLs all the same"


async def test_after_a_failure_the_url_is_read_anew_and_the_used_one_is_not_requested_again(
    run: HandlerRun, source: FakeSource, downloads: Downloads
) -> None:
    downloads.failure = Failure(Reason.ORIGIN_ERROR)
    await run.request("X1", "a")
    assert (await run.photo("X1")).due_at is not None
    await run.listings.write([force(await run.listings.get(FEED, "X1"))])
    downloads.failure = None
    await run.request("X1", "a")
    assert downloads.urls == ["fresh-1-a", "fresh-2-a"]


async def test_a_source_that_gives_the_used_url_again_defers_the_photo(
    run: HandlerRun, source: FakeSource, downloads: Downloads
) -> None:
    source.is_signed_anew, downloads.failure = False, Failure(Reason.ORIGIN_ERROR)
    await run.request("X1", "a")
    await run.listings.write([force(await run.listings.get(FEED, "X1"))])
    await run.request("X1", "a")
    assert (downloads.urls, len(source.readings)) == (["fresh-1-a"], 2)
    assert (await run.photo("X1")).due_at == after(9 + 600)


async def test_a_photo_that_the_mls_no_longer_has_is_deferred_and_others_are_fetched(
    run: HandlerRun, source: FakeSource, downloads: Downloads
) -> None:
    source.missing = {"a"}
    await run.request("X1", "a", "X2", "b")
    assert downloads.urls == ["fresh-1-b"]
    photo = await run.photo("X1")
    assert (photo.due_at, photo.attempts, photo.released_at) == (after(9 + 600), 0, None)


async def test_without_an_answer_of_the_mls_no_photo_is_fetched(
    run: HandlerRun, source: FakeSource, downloads: Downloads
) -> None:
    source.error = UrlsUnavailable("throttled", 45.0)
    await run.request("X1", "a", "X2", "b")
    assert (downloads.urls, (await run.photo("X1")).due_at, (await run.photo("X2")).due_at) == (
        [],
        after(54),
        after(54),
    )


async def test_no_url_is_read_while_the_feed_is_suspended(run: HandlerRun, source: FakeSource) -> None:
    stored = await run.ledgers.get(FEED)
    paused = Ledger(pause=Pause(LONG_AGO, None, "repairs"))
    await run.ledgers.replace(FEED, codec.to_document(paused), stored.revision)
    await run.request("X1", "a")
    photo = await run.photo("X1")
    assert (source.readings, photo.released_at, photo.attempts) == ([], None, 0)
    assert photo.due_at
    assert photo.due_at > after(9)


async def test_a_first_refusal_of_a_photo_does_not_count_for_the_breaker(run: HandlerRun, downloads: Downloads) -> None:
    downloads.failure = Failure(Reason.FORBIDDEN)
    await run.request("X1", "a")
    assert (await run.ledgers.get(FEED)).ledger.failed_images == ()
    await run.listings.write([force(await run.listings.get(FEED, "X1"))])
    await run.request("X1", "a")
    assert (await run.ledgers.get(FEED)).ledger.failed_images == (a_photo("a", key="X1").id,)


def force(listing: Listing | None) -> Listing:
    assert listing
    return listing.with_photos([lifecycle.force(photo, Priority.ROUTINE, NOW) for photo in listing.photos])


def wanted(*photos: Photo, key: str = "X1") -> dict[ListingId, tuple[Listing, Sequence[Photo]]]:
    return {(FEED, key): (a_listing(*photos, key=key), photos)}


async def test_urls_of_a_listing_are_read_once_for_all_its_photos_each_is_given_until_it_is_used_or_old(
    source: FakeSource,
) -> None:
    now = 0.0
    urls, listing = FreshUrls(source, lambda: now), a_listing(a_photo("a"), a_photo("b"))
    ask = {(FEED, "X1"): (listing, listing.photos)}
    first = await urls.of(ask)
    assert await urls.of(ask) == first
    assert len(source.readings) == 1
    urls.use((FEED, "X1"), [listing.photos[0].id])
    assert await urls.of(wanted(listing.photos[1])) == {listing.photos[1].id: first[listing.photos[1].id]}
    assert len(source.readings) == 1
    assert (await urls.of(ask))[listing.photos[0].id].endswith("fresh-2-a")
    now = 30.0
    assert (await urls.of(ask))[listing.photos[0].id].endswith("fresh-3-a")


async def test_groups_that_ask_at_the_same_time_share_a_reading(source: FakeSource) -> None:
    urls = FreshUrls(source)
    await asyncio.gather(*(urls.of(wanted(a_photo("a"))) for _ in range(5)))
    assert len(source.readings) == 1


# Sources


class Server:
    """A server that gives each request the next of `answers`; `asked` are the bodies of POSTs."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[Any] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            self.asked.append(await request.json())
        return self.answers.pop(0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    async with TestServer(app) as started:
        found.url = str(started.make_url("/")).rstrip("/")
        yield found


async def test_the_hook_is_asked_by_media_key_and_answers_urls(server: Server) -> None:
    rows = [{"MediaKey": "a", "MediaURL": "https://photos.example.com/new"}, {"MediaKey": "gone", "MediaURL": None}]
    server.answers.append(web.json_response({"media": rows}))
    hook = HookUrls(a_feed(refresh_url_hook=f"{server.url}/urls"))
    listing = a_listing(a_photo("a"), a_photo("b"))
    assert await hook.read([listing]) == {(FEED, "X1"): {listing.photos[0].id: "https://photos.example.com/new"}}
    await hook.aclose()
    assert server.asked == [{"feed": FEED, "listing_key": "X1", "media_keys": ["a", "b"]}]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: web.Response(status=500), "refresh_url_hook answered 500"),
        (lambda: web.Response(text="<html>"), "no answer of the agreed form"),
        (lambda: web.json_response({"media": [{"MediaKey": "a"}]}), "no answer of the agreed form"),
        (lambda: web.json_response([]), "no answer of the agreed form"),
    ],
)
async def test_a_hook_without_a_usable_answer_makes_photos_wait(server: Server, answer: Any, message: str) -> None:
    server.answers.append(answer())
    hook = HookUrls(a_feed(refresh_url_hook=f"{server.url}/urls"))
    with pytest.raises(UrlsUnavailable, match=message) as raised:
        await hook.read([a_listing(a_photo("a"))])
    await hook.aclose()
    assert raised.value.wait_seconds == 30.0


def api_urls(server: Server) -> tuple[ApiUrls, FeedReader]:
    feed = a_feed(reso_url=f"{server.url}/odata", allow_private_addresses=True, refresh_urls=True)
    reader = FeedReader(feed, MlsClient(feed, "", pause_seconds=0.0))
    return ApiUrls(feed, reader), reader


async def test_urls_come_from_the_largest_allowed_rows_of_the_mls(server: Server) -> None:
    rows = [
        a_row("a-t", MediaObjectID="a", ImageSizeDescription="Thumbnail"),
        a_row("a-l", MediaObjectID="a", ImageSizeDescription="Largest", MediaURL="https://photos.example.com/new"),
    ]
    server.answers.append(web.json_response({"value": [a_record(*rows)]}))
    urls, reader = api_urls(server)
    listing = a_listing(a_photo("a"))
    assert await urls.read([listing]) == {(FEED, "X1"): {listing.photos[0].id: "https://photos.example.com/new"}}
    await reader.aclose()


async def test_an_mls_that_is_unavailable_makes_photos_wait_as_long_as_it_says(server: Server) -> None:
    server.answers.append(web.Response(status=429, headers={"Retry-After": "300"}))
    urls, reader = api_urls(server)
    with pytest.raises(UrlsUnavailable, match="throttled") as raised:
        await urls.read([a_listing(a_photo("a"))])
    await reader.aclose()
    assert raised.value.wait_seconds == 300.0
