"""Does every photo arrive from an MLS whose URLs live a minute and work once? With the real client and fetcher."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest

from local.sandbox import Sandbox
from services.downloader.answers import Fetched
from services.downloader.fetch import Fetcher
from services.downloader.outcomes import Downloaded, Outcome
from services.downloader.permit import Permit
from services.downloader.url_sources import ApiUrls
from shared.domain.failures import Failure
from shared.domain.feed import Feed
from shared.domain.feed_file import parse_feeds
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.reso.feed_reader import MODIFIED, FeedReader
from shared.reso.odata import MlsClient
from tests.builders import FEED, NOW, a_copy, announced
from tests.downloading import FakeDownloads, a_handler_run

LISTINGS, PHOTOS = 12, 5
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Market:
    """A sandbox of MLS Grid without quotas, whose clock tests move on by `passed`."""

    def __init__(self, folder: Path) -> None:
        self.passed, self._started = timedelta(0), monotonic()
        self.mls = Sandbox(
            listings=LISTINGS, photos=PHOTOS, widest=320, vendor="mlsgrid", cache=folder, clock=self.clock,
            switches=["short-lived-urls", "unlimited"],
        )  # fmt: skip

    def clock(self) -> datetime:
        return NOW + self.passed + timedelta(seconds=monotonic() - self._started)

    def feed(self, *, refresh: bool) -> Feed:
        text = self.mls.feeds_toml(
            feed=FEED, reso_url=self.mls.web_api, reso_token_env="T", reso_profile="mlsgrid", refresh_urls=refresh,
            reso_filter="OriginatingSystemName eq 'actris'", headers={"User-Agent": {"env": "T"}},
            reso_requests_per_second=0.0,
        )  # fmt: skip
        return parse_feeds(text)[FEED]

    def reader(self, feed: Feed) -> FeedReader:
        return FeedReader(feed, MlsClient(feed, self.mls.token, pause_seconds=0.0))


class Fetches(FakeDownloads):
    """Downloads that fetch the photo's URL, and keep the bytes only."""

    def __init__(self, fetcher: Fetcher, folder: Path) -> None:
        super().__init__()
        self._fetcher, self._folder = fetcher, folder

    async def download(self, feed: Feed, listing_key: str, photo: Photo, permit: Permit) -> Outcome:
        answer = await self._fetcher.fetch(photo.url, feed, self._folder, None, permit)
        await permit.report_answer(answer)
        if isinstance(answer, Failure):
            return answer
        assert isinstance(answer, Fetched)
        return Downloaded(a_copy(photo.object_id, key=listing_key))


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    found = Market(tmp_path)
    async with found.mls:
        yield found


async def recorded(market: Market, feed: Feed) -> list[Listing]:
    reader = market.reader(feed)
    pages = [page.records async for page in reader.changes(MODIFIED, LONG_AGO)]
    await reader.aclose()
    listings = [announced(dict(record), feed=feed) for records in pages for record in records]
    return [listing for listing in listings if listing and listing.is_displayed]


async def downloaded(market: Market, feed: Feed, folder: Path) -> tuple[int, int]:
    """Record the market, let its URLs die, request all photos; return how many are downloaded, and how many not."""
    listings = await recorded(market, feed)
    market.passed += timedelta(seconds=61)
    reader = market.reader(feed)
    async with Fetcher({"T": market.mls.token}) as fetcher:
        source = ApiUrls(feed, reader) if feed.refresh_urls else None
        downloads = Fetches(fetcher, folder)
        async with a_handler_run(feed, downloads=downloads, url_source=lambda *_: source) as run:
            await run.listings.write(listings)
            for listing in listings:
                names = [name for photo in listing.photos for name in (listing.key, photo.object_id)]
                await run.request(*names)
            found = [await run.listings.get(FEED, listing.key) for listing in listings]
    await reader.aclose()
    photos = [photo for listing in found if listing for photo in listing.photos]
    return sum(photo.copy is not None for photo in photos), sum(photo.copy is None for photo in photos)


async def test_all_photos_arrive_although_their_announced_urls_are_dead(market: Market, tmp_path: Path) -> None:
    done, left = await downloaded(market, market.feed(refresh=True), tmp_path)
    assert (done, left) == (PHOTOS * LISTINGS, 0)
    assert {rule: market.mls.refused[rule] for rule in ("used", "expired", "agent", "token")} == dict.fromkeys(
        ("used", "expired", "agent", "token"), 0
    )


async def test_without_reading_urls_anew_none_arrives(market: Market, tmp_path: Path) -> None:
    done, left = await downloaded(market, market.feed(refresh=False), tmp_path)
    assert (done, left, market.mls.refused["expired"]) == (0, PHOTOS * LISTINGS, PHOTOS * LISTINGS)
