"""What an event does: those who wait are sent on, and nobody is shown what it says is over."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from services.downloader.events import image_downloaded
from services.resolver import catalog as catalog_module
from services.resolver import news as news_module
from services.resolver import waiting as waiting_module
from shared.domain.image import Photo
from shared.domain.listing import Listing, RemovalReason
from shared.events.codec import encode
from shared.events.images import ImageDownloaded, ImageRemoved
from shared.events.records import Record
from shared.events.topics import IMAGE_DOWNLOADED, IMAGE_REMOVED
from shared.kafka import BrokerUnavailable
from tests.answering import RENDERER, Resolver, a_resolver
from tests.builders import FEED, KEY, NOW, a_copy, a_downloaded_photo, a_listing, a_photo

LISTING = f"/api/listings/{KEY}/images"


class Kafka:
    """What Kafka tells, said by the test."""

    def __init__(self) -> None:
        self._records: asyncio.Queue[Record | None] = asyncio.Queue()

    @asynccontextmanager
    async def follow(self, *_: object) -> AsyncIterator[AsyncIterator[Record]]:
        """Have someone hear what is said from here on."""
        yield self._heard()

    async def _heard(self) -> AsyncIterator[Record]:
        while record := await self._records.get():
            yield record
            self._records.task_done()
        raise BrokerUnavailable("away")

    async def say_downloaded(self, listing: Listing, photo: Photo) -> None:
        """Say that a photo of the listing has its copy; return once that is heard."""
        assert photo.copy is not None
        event = image_downloaded(listing, photo.id, photo.copy, RENDERER.url, changed=True)
        assert event is not None
        await self._say(IMAGE_DOWNLOADED, event)

    async def say_removed(self, photo: Photo) -> None:
        """Say that a photo was removed; return once that is heard."""
        why: Any = {"reason": RemovalReason.OPT_OUT, "removed_at": NOW, "urls": ()}
        await self._say(IMAGE_REMOVED, ImageRemoved(feed=FEED, listing_key=KEY, image_id=photo.id, **why))

    async def _say(self, topic: str, event: ImageDownloaded | ImageRemoved) -> None:
        value = encode(event, source="test", now=NOW)
        self._records.put_nowait(Record(topic, 0, 0, NOW, KEY.encode(), value))
        async with asyncio.timeout(10):
            await self._records.join()

    def go_away(self) -> None:
        """Say nothing more to those who hear."""
        self._records.put_nowait(None)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """What whoever follows hears."""
    said = Kafka()
    monkeypatch.setattr(news_module, "follow", said.follow)
    return said


@pytest.fixture
def kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have answers kept until an event says otherwise."""
    monkeypatch.setattr(catalog_module, "TTL_SECONDS", 60.0)


@asynccontextmanager
async def hearing(resolver: Resolver) -> AsyncIterator["asyncio.Task[None]"]:
    """Have the resolver hear what is said, and know that it does, for as long as the context lasts."""
    following = asyncio.create_task(resolver.parts.news.follow())
    try:
        await resolver.parts.news.is_following.wait()
        await resolver.parts.news.check()
        yield following
    finally:
        following.cancel()
        await asyncio.wait([following])


async def test_who_waits_for_a_photo_is_sent_to_it_at_once_by_its_event(
    monkeypatch: pytest.MonkeyPatch, kafka: Kafka
) -> None:
    monkeypatch.setattr(waiting_module, "LOOK_SECONDS", 60)  # nothing but the event wakes them
    listing, seconds = a_listing(*map(a_photo, "abcde")), []
    async with a_resolver(listing) as resolver, hearing(resolver):
        for photo in listing.photos:
            asking = await resolver.is_waited_for(photo)
            held = replace(photo, copy=a_copy(photo.object_id))
            changed = await resolver.record(photos=listing.with_photos([held]).photos)
            began = asyncio.get_running_loop().time()
            await kafka.say_downloaded(changed, held)
            assert (await asking).status == 302
            seconds.append(asyncio.get_running_loop().time() - began)
    assert min(seconds) < 0.2


@pytest.mark.usefixtures("kept_for_long")
async def test_whatever_was_said_while_nobody_followed_is_read_once_someone_does(kafka: Kafka) -> None:
    async with a_resolver(a_listing(a_photo("a"))) as resolver:

        async def status() -> Any:
            return (await (await resolver.http.get(LISTING)).json())["images"][0]["status"]

        async with hearing(resolver) as following:
            assert await status() == "pending"
            kafka.go_away()
            with pytest.raises(BrokerUnavailable):
                await following
        assert not resolver.parts.news.is_following.is_set(), "answers are kept for a shorter time meanwhile"
        await resolver.record(photos=(a_downloaded_photo("a"),))
        assert await status() == "pending", "what was read is kept"
        async with hearing(resolver):
            assert await status() == "downloaded"


@pytest.mark.usefixtures("kept_for_long")
@pytest.mark.parametrize("by", ["id", "url", "url and listing"])
async def test_a_photo_that_was_unknown_is_served_once_an_event_tells_of_it(kafka: Kafka, by: str) -> None:
    photo = a_downloaded_photo("a")
    listing, facts = a_listing(photo), {"id": photo.id, "url": photo.url, "listing": KEY}
    asked = {name: facts[name] for name in by.split(" and ")}
    async with a_resolver() as resolver, hearing(resolver):

        async def status() -> int:
            answer = await resolver.http.get("/api/images/serve", params=asked, allow_redirects=False)
            return answer.status

        assert await status() == 404
        await resolver.listings.write([listing])
        assert await status() == 404, "what was read is kept"
        await kafka.say_downloaded(listing, photo)
        assert await status() == 302


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/listings/{key}/images", {}),
        ("/api/images/resolve", {"url": "{url}"}),
        ("/api/images/resolve", {"url": "{url}", "listing": "{key}"}),
        ("/api/images/serve", {"id": "{id}"}),
        ("/api/images/serve", {"url": "{url}"}),
    ],
)
async def test_a_photo_that_was_removed_is_shown_to_nobody_though_the_database_is_away(
    kafka: Kafka, path: str, asked: Mapping[str, str]
) -> None:
    mine, other = a_downloaded_photo("a"), a_downloaded_photo("b", key="X2")
    async with a_resolver(a_listing(mine), a_listing(other, key="X2")) as resolver, hearing(resolver):

        async def status(photo: Photo, key: str) -> int:
            facts = {"id": photo.id, "url": photo.url, "key": key}
            query = {name: value.format(**facts) for name, value in asked.items()}
            answer = await resolver.http.get(path.format(**facts), params=query, allow_redirects=False)
            return answer.status

        shown = await status(mine, KEY)
        assert (shown, await status(other, "X2")) in {(200, 200), (302, 302)}
        resolver.listings.is_away = True
        await kafka.say_removed(mine)
        assert await status(mine, KEY) == 503
        assert await status(other, "X2") == shown, "of what is not removed, what was read before is shown"
