"""Is each `image-downloaded` published at least once, although workers die between the record and the event?"""

from datetime import datetime, timedelta

import pytest

from services.downloader import decide
from services.downloader.announcements import Announcements
from services.downloader.outcomes import Downloaded, Unchanged
from shared.domain import lifecycle
from shared.domain.listing import Listing
from shared.events.codec import Event, decode
from shared.events.images import ImageDownloaded
from shared.kafka import BrokerUnavailable
from shared.publisher import Publisher
from shared.stores.memory import MemoryListings
from tests.answering import RENDERER, MemoryBroker
from tests.builders import FEED, NOW, a_copy, a_feed, a_listing, a_photo, after
from tests.downloading import HandlerRun, a_handler_run


class Run:
    """A downloader's announcements on a listing whose photo a worker has settled at NOW, before it died."""

    def __init__(self) -> None:
        self.listings = MemoryListings(RENDERER)
        self.broker = MemoryBroker()
        self.now = NOW
        publisher = Publisher(self.broker, "", "downloader", self.clock)
        self.announcements = Announcements(self.listings, publisher, RENDERER.url, self.clock)

    def clock(self) -> datetime:
        return self.now

    async def settle(self, outcome: Downloaded | Unchanged) -> Listing:
        photo = lifecycle.claim(a_photo("a", copy=a_copy("a")), "w", a_feed(), after(-5))
        settled = decide.settle(
            a_listing(photo), photo, outcome, feed=a_feed(), superseded_for=timedelta(hours=1), now=NOW, jitter=0.0
        )
        await self.listings.write([settled.listing])
        return settled.listing

    def events(self) -> list[ImageDownloaded]:
        read = [decode(record.value, ImageDownloaded, NOW) for record in self.broker.records]
        return [event.data for event in read if isinstance(event, Event)]

    async def unannounced(self) -> int:
        (listing,) = await self.listings.page(FEED, "", 9)
        return len(listing.unannounced)


@pytest.mark.parametrize(
    ("outcome", "changed"),
    [
        (Downloaded(a_copy("a", sha256="bb" * 32)), True),
        (Downloaded(a_copy("a")), False),
        (Unchanged(None, None), False),
    ],
)
async def test_any_worker_announces_a_copy_whose_worker_died(outcome: Downloaded | Unchanged, *, changed: bool) -> None:
    run = Run()
    listing = await run.settle(outcome)
    run.now = after(29)
    await run.announcements.publish_overdue()
    assert (run.events(), await run.unannounced()) == ([], 1), "its worker may still be at work"
    run.now = after(31)
    await run.announcements.publish_overdue()
    await run.announcements.publish_overdue()
    (event,) = run.events()
    assert (event.image_id, event.changed) == (listing.photos[0].id, changed)
    assert await run.unannounced() == 0


async def test_a_mark_stays_while_kafka_is_unavailable() -> None:
    run = Run()
    await run.settle(Unchanged(None, None))
    run.now, run.broker.is_unavailable = after(31), True
    with pytest.raises(BrokerUnavailable):
        await run.announcements.publish_overdue()
    assert await run.unannounced() == 1


async def test_the_mark_of_a_withdrawn_photo_is_cleared_without_an_event() -> None:
    run = Run()
    await run.settle(Unchanged(None, None))
    (listing,) = await run.listings.page(FEED, "", 9)
    await run.listings.write([a_listing(revision=listing.revision, unannounced=listing.unannounced)])
    run.now = after(31)
    await run.announcements.publish_overdue()
    assert (run.events(), await run.unannounced()) == ([], 0)


async def test_the_mark_of_a_published_event_is_cleared() -> None:
    async with a_handler_run(a_feed()) as run:
        run.downloads.finish("a")
        await run.request("X1", "a")
        assert await marked(run) == [(await run.photo("X1")).id]
        await run.handler.announcements.clear()
        assert await marked(run) == []


async def marked(run: HandlerRun) -> list[str]:
    """Return the image ids of the marks of the listing X1."""
    listing = await run.listings.get(FEED, "X1")
    assert listing is not None
    return [mark.image_id for mark in listing.unannounced]
