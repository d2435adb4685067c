"""An event invalidates cached answers, redirects waiting visitors, and hides a removed photo."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from services.downloader.events import image_downloaded
from services.resolver import answer_cache as answer_cache_module
from services.resolver import invalidation as invalidation_module
from services.resolver import waiters as waiters_module
from services.resolver.lookups import ListingLookup
from shared.domain.image import Photo
from shared.domain.listing import Listing, RemovalReason
from shared.events.codec import encode
from shared.events.images import ImageDownloaded, ImageRemoved
from shared.events.records import Record
from shared.events.topics import DEAD_LETTER, IMAGE_DOWNLOADED, IMAGE_REMOVED
from shared.kafka import BrokerUnavailable
from tests.answering import RENDERER, Resolver, a_resolver
from tests.builders import FEED, KEY, NOW, a_copy, a_downloaded_photo, a_listing, a_photo

LISTING = f"/api/listings/{KEY}/images"


class Kafka:
    """Stands for Kafka: the resolver follows the events that a test publishes here."""

    def __init__(self) -> None:
        self._records: asyncio.Queue[Record | None] = asyncio.Queue()

    @asynccontextmanager
    async def follow(self, *_: object) -> AsyncIterator[AsyncIterator[Record]]:
        """Yield the records that are published from now on; in place of `shared.kafka.follow`."""
        yield self._followed()

    async def _followed(self) -> AsyncIterator[Record]:
        while record := await self._records.get():
            yield record
            self._records.task_done()
        raise BrokerUnavailable("away")

    async def publish_downloaded(self, listing: Listing, photo: Photo) -> None:
        """Publish that a photo of the listing has its copy; return once the resolver has handled the event."""
        assert photo.copy is not None
        event = image_downloaded(listing, photo.id, photo.copy, RENDERER.url, changed=True)
        assert event is not None
        await self._publish(IMAGE_DOWNLOADED, event)

    async def publish_removed(self, photo: Photo) -> None:
        """Publish that a photo was removed; return once the resolver has handled the event."""
        await self._publish(IMAGE_REMOVED, a_removal(photo.id))

    async def _publish(self, topic: str, event: ImageDownloaded | ImageRemoved) -> None:
        value = encode(event, source="test", now=NOW)
        self._records.put_nowait(Record(topic, 0, 0, NOW, KEY.encode(), value))
        async with asyncio.timeout(10):
            await self._records.join()

    def become_unavailable(self) -> None:
        """End the reading of all who follow, with BrokerUnavailable."""
        self._records.put_nowait(None)


def a_removal(image_id: str) -> ImageRemoved:
    """Return the event that a photo of the listing KEY was removed."""
    return ImageRemoved(
        feed=FEED, listing_key=KEY, image_id=image_id, reason=RemovalReason.OPT_OUT, removed_at=NOW, urls=()
    )


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """A fake Kafka, whose events the resolvers of this test follow."""
    kafka = Kafka()
    monkeypatch.setattr(invalidation_module, "follow", kafka.follow)
    return kafka


@pytest.fixture
def long_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have answers kept for a minute, unless an event invalidates them."""
    monkeypatch.setattr(answer_cache_module, "TTL_SECONDS", 60.0)


@asynccontextmanager
async def following(resolver: Resolver) -> AsyncIterator["asyncio.Task[None]"]:
    """Have the resolver follow events, and choose its TTL by that, for as long as the context lasts."""
    task = asyncio.create_task(resolver.parts.invalidation.follow())
    try:
        await resolver.parts.invalidation.is_following.wait()
        await resolver.parts.invalidation.check()
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_an_event_sends_the_visitors_who_wait_for_its_photo_on_at_once(
    monkeypatch: pytest.MonkeyPatch, kafka: Kafka
) -> None:
    monkeypatch.setattr(waiters_module, "POLL_SECONDS", 60)  # nothing but the event wakes them
    listing, seconds = a_listing(*map(a_photo, "abcde")), []
    async with a_resolver(listing) as resolver, following(resolver):
        for photo in listing.photos:
            waiting = await resolver.begin_waiting(photo)
            held = replace(photo, copy=a_copy(photo.object_id))
            changed = await resolver.record(photos=listing.with_photos([held]).photos)
            began = asyncio.get_running_loop().time()
            await kafka.publish_downloaded(changed, held)
            assert (await waiting).status == 302
            seconds.append(asyncio.get_running_loop().time() - began)
    assert min(seconds) < 0.2


@pytest.mark.usefixtures("long_ttl")
async def test_changes_that_were_announced_while_nobody_followed_are_read_once_the_resolver_does(kafka: Kafka) -> None:
    async with a_resolver(a_listing(a_photo("a"))) as resolver:

        async def status() -> Any:
            return (await (await resolver.http.get(LISTING)).json())["images"][0]["status"]

        async with following(resolver) as task:
            assert await status() == "pending"
            kafka.become_unavailable()
            with pytest.raises(BrokerUnavailable):
                await task
        assert not resolver.parts.invalidation.is_following.is_set(), "the shorter TTL applies meanwhile"
        await resolver.record(photos=(a_downloaded_photo("a"),))
        assert await status() == "pending", "from the cache"
        async with following(resolver):
            assert await status() == "downloaded"


@pytest.mark.usefixtures("long_ttl")
@pytest.mark.parametrize("by", ["id", "url", "url and listing"])
async def test_a_photo_that_was_unknown_is_served_after_its_event(kafka: Kafka, by: str) -> None:
    photo = a_downloaded_photo("a")
    listing, facts = a_listing(photo), {"id": photo.id, "url": photo.url, "listing": KEY}
    query = {name: facts[name] for name in by.split(" and ")}
    async with a_resolver() as resolver, following(resolver):

        async def status() -> int:
            answer = await resolver.http.get("/api/images/serve", params=query, allow_redirects=False)
            return answer.status

        assert await status() == 404
        await resolver.listings.write([listing])
        assert await status() == 404, "from the cache"
        await kafka.publish_downloaded(listing, photo)
        assert await status() == 302


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/listings/{key}/images", {}),
        ("/api/images/resolve", {"url": "{url}"}),
        ("/api/images/resolve", {"url": "{url}", "listing": "{key}"}),
        ("/api/images/serve", {"id": "{id}"}),
        ("/api/images/serve", {"url": "{url}"}),
    ],
)
async def test_a_removed_photo_is_not_shown_though_the_database_is_unavailable(
    kafka: Kafka, path: str, query: Mapping[str, str]
) -> None:
    removed, other = a_downloaded_photo("a"), a_downloaded_photo("b", key="X2")
    async with a_resolver(a_listing(removed), a_listing(other, key="X2")) as resolver, following(resolver):

        async def status(photo: Photo, key: str) -> int:
            facts = {"id": photo.id, "url": photo.url, "key": key}
            params = {name: value.format(**facts) for name, value in query.items()}
            answer = await resolver.http.get(path.format(**facts), params=params, allow_redirects=False)
            return answer.status

        shown = await status(removed, KEY)
        assert (shown, await status(other, "X2")) in {(200, 200), (302, 302)}
        resolver.listings.is_unavailable = True
        await kafka.publish_removed(removed)
        assert await status(removed, KEY) == 503
        assert await status(other, "X2") == shown, "other photos are shown from the cache"


@pytest.mark.parametrize("topic", [IMAGE_DOWNLOADED, IMAGE_REMOVED])
async def test_an_event_that_cannot_be_read_is_a_dead_letter_and_the_next_is_handled(
    monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    values = [None, b"no JSON", encode(a_removal("x"), source="janitor", now=NOW)]

    @asynccontextmanager
    async def follow(*_: object) -> AsyncIterator[AsyncIterator[Record]]:
        async def records() -> AsyncIterator[Record]:
            for offset, value in enumerate(values):
                yield Record(topic if value != values[-1] else IMAGE_REMOVED, 0, offset, NOW, b"key", value)

        yield records()

    monkeypatch.setattr(invalidation_module, "follow", follow)
    async with a_resolver(a_listing(a_downloaded_photo("a"))) as resolver:
        lookup = ListingLookup(KEY, None)
        await resolver.parts.cache.listings([lookup])
        await resolver.parts.invalidation.follow()
        assert resolver.parts.cache.fresh_listing(lookup) is None
        assert [(record.topic, record.key, record.value) for record in resolver.broker.records] == [
            (DEAD_LETTER, b"key", None),
            (DEAD_LETTER, b"key", b"no JSON"),
        ]
        headers = [dict(record.headers) for record in resolver.broker.records]
        assert [(header["dead_letter_service"], header["dead_letter_topic"]) for header in headers] == [
            (b"resolver", topic.encode())
        ] * 2
